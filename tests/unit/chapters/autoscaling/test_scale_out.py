"""The load at which autoscalers scale out, computed for every shape of pod and target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from runbook_lib.chapters.autoscaling.cases import Autoscaler, Comparison, Condition, ScaleOut, rows
from runbook_lib.chapters.autoscaling.scale_out import (
    RESOURCES,
    Item,
    Metric,
    Remedy,
    Scaling,
    Shift,
    Usage,
    amount,
    compare,
    desired,
    mended,
    quantity,
    requests_of,
    scalings,
    words,
)
from runbook_lib.notebook.pictures.scale_out import scale_out_html

MEBI = 2**20
PROXY_REQUESTS = {"cpu": 10, "memory": 64 * MEBI}


def container(name: str, **requests: str) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": requests}}


WEB = container("web", cpu="100m", memory="256Mi")
PROXY = container("istio-proxy", cpu="100m", memory="128Mi")
NATIVE = {**PROXY, "restartPolicy": "Always"}
TEMPLATE = {"containers": [WEB]}
INJECTED = {"containers": [WEB], "initContainers": [{"name": "istio-init"}, NATIVE]}


def resource(name: str = "cpu", percent: int = 70) -> Item:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def average(value: str, name: str = "cpu") -> Item:
    target = {"type": "AverageValue", "averageValue": value}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def single(container: str = "web", percent: int = 70, name: str = "cpu") -> Item:
    target = {"type": "Utilization", "averageUtilization": percent}
    body = {"name": name, "container": container, "target": target}
    return {"type": "ContainerResource", "containerResource": body}


def single_amount(container: str) -> Item:
    target = {"type": "AverageValue", "averageValue": "70m"}
    body = {"name": "cpu", "container": container, "target": target}
    return {"type": "ContainerResource", "containerResource": body}


PODS: Item = {
    "type": "Pods",
    "pods": {
        "metric": {"name": "requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "10"},
    },
}


def judged(
    items: Sequence[Item],
    template: dict[str, Any] | None = TEMPLATE,
    pod: dict[str, Any] | None = INJECTED,
    *,
    before: Sequence[Item] = (),
    usage: Usage | None = None,
) -> tuple[Scaling, ...]:
    requests = {name: requests_of(name, template, pod) for name in RESOURCES}
    return scalings(items, before, requests, {"cpu": usage} if usage else {})


def one(items: Sequence[Item], *arguments: Any, **more: Any) -> Scaling:
    (found,) = judged(items, *arguments, **more)
    return found


class TestPoint:
    def test_a_sidecar_doubles_the_point_of_the_procedures_example(self) -> None:
        scaling = one([resource()])

        assert (scaling.before, scaling.unmended, scaling.now) == (70, 140, 140)
        assert scaling.state is Shift.MOVED

    @pytest.mark.parametrize(
        "pod", [INJECTED, {"containers": [WEB, PROXY]}], ids=["native", "container"]
    )
    def test_both_kinds_of_sidecar_count(self, pod: dict[str, Any]) -> None:
        assert one([resource()], TEMPLATE, pod).now == 140

    def test_an_init_container_that_ends_does_not_count(self) -> None:
        ended = container("migrate", cpu="2")
        pod = {**INJECTED, "initContainers": [ended, NATIVE]}

        assert one([resource()], {**TEMPLATE, "initContainers": [ended]}, pod).now == 140

    def test_a_native_sidecar_of_the_workload_itself_is_its_own(self) -> None:
        own = {**container("cache", cpu="50m"), "restartPolicy": "Always"}
        template = {**TEMPLATE, "initContainers": [own]}
        pod = {**TEMPLATE, "initContainers": [own, NATIVE]}

        scaling = one([resource()], template, pod)

        assert (scaling.before, scaling.now) == (105, 175)

    def test_a_template_that_customises_the_sidecar_does_not_own_it(self) -> None:
        template = {"containers": [WEB, {"name": "istio-proxy", "image": "auto"}]}

        assert one([resource()], template, INJECTED).before == 70

    def test_memory_is_moved_too(self) -> None:
        scaling = one([resource("memory", 50)])

        assert (scaling.before, scaling.now) == (128 * MEBI, 192 * MEBI)
        assert scaling.state is Shift.MOVED

    def test_a_limit_alone_is_a_request(self) -> None:
        limited = {"name": "web", "resources": {"limits": {"cpu": "100m"}}}

        assert one([resource()], {"containers": [limited]}, None).before == 70

    def test_defaults_of_the_namespace_are_read_from_the_pod(self) -> None:
        assert one([resource()], {"containers": [{"name": "web"}]}, INJECTED).before == 70

    def test_a_request_of_the_pod_as_a_whole_goes_first(self) -> None:
        whole = {"resources": {"requests": {"cpu": "1"}}}

        scaling = one([resource()], {**TEMPLATE, **whole}, {**INJECTED, **whole})

        assert (scaling.before, scaling.now) == (700, 700)
        assert scaling.state is Shift.IN_PLACE
        assert "as a whole" in scaling.reason

    def test_without_a_readable_template_the_pod_says_what_is_whose(self) -> None:
        scaling = one([resource()], None, INJECTED)

        assert (scaling.before, scaling.now) == (70, 140)


class TestState:
    def test_without_a_sidecar_it_is_yet_to_move(self) -> None:
        scaling = one([resource()], TEMPLATE, TEMPLATE)

        assert scaling.state is Shift.WILL_MOVE
        assert scaling.needs_remedy

    @pytest.mark.parametrize("pod", [INJECTED, TEMPLATE, None])
    def test_a_single_container_is_right_with_and_without_sidecar(
        self, pod: dict[str, Any] | None
    ) -> None:
        scaling = one([single()], TEMPLATE, pod)

        assert (scaling.now, scaling.state) == (70, Shift.IN_PLACE)

    def test_an_amount_that_its_owner_chose_is_left_alone(self) -> None:
        assert one([average("70m")]).state is Shift.IN_PLACE

    def test_a_small_shift_is_within_the_controllers_tolerance(self) -> None:
        big = {"containers": [container("web", cpu="2")]}

        scaling = one([resource()], big, {**big, "initContainers": [NATIVE]})

        assert (scaling.before, scaling.now) == (1400, 1470)
        assert scaling.state is Shift.NEAR
        assert not scaling.needs_remedy

    @pytest.mark.parametrize(
        ("point", "state"),
        [
            (70, Shift.IN_PLACE),
            (71, Shift.IN_PLACE),
            (77, Shift.NEAR),
            (63, Shift.NEAR),
            (78, Shift.MOVED),
            (62, Shift.MOVED),
            (None, Shift.MOVED),
        ],
    )
    def test_near_ends_at_a_tenth(self, point: int | None, state: Shift) -> None:
        assert compare(point, 70) is state

    def test_an_application_without_request_is_named_with_its_remedy(self) -> None:
        bare = {"containers": [{"name": "web"}]}

        scaling = one([resource()], bare, {**bare, "initContainers": [NATIVE]})

        assert scaling.state is Shift.UNKNOWN
        assert not scaling.needs_remedy
        assert "web has no cpu request" in scaling.reason
        assert "set its request" in scaling.reason

    def test_a_sidecar_without_request_breaks_the_autoscaler_and_is_mended(self) -> None:
        halved = {**container("istio-proxy", memory="64Mi"), "restartPolicy": "Always"}

        scaling = one([resource()], TEMPLATE, {**TEMPLATE, "initContainers": [halved]})

        assert (scaling.before, scaling.now, scaling.state) == (70, None, Shift.MOVED)
        assert "replaces all of the sidecar's resources" in scaling.reason
        assert mended([resource()], [], [scaling], Remedy.CONTAINER_RESOURCE) == [single()]

    @pytest.mark.parametrize("item", [single("typo"), single_amount("typo")])
    def test_a_container_that_does_not_exist_cannot_be_computed(self, item: Item) -> None:
        scaling = one([item])

        assert scaling.state is Shift.UNKNOWN
        assert scaling.reason == (
            "the pods have no container typo, so the autoscaler shows <unknown>: the application's "
            "containers are web"
        )

    def test_a_remedy_whose_container_was_renamed_is_needed_anew(self) -> None:
        scaling = one([single("old")], before=[resource()])

        assert (scaling.before, scaling.now, scaling.state) == (70, None, Shift.MOVED)
        assert "the pods have no container old" in scaling.reason
        assert mended([single("old")], [resource()], [scaling], Remedy.CONTAINER_RESOURCE) == [
            single()
        ]

    @pytest.mark.parametrize("percent", [70, 80])
    def test_the_sidecar_is_no_container_of_the_application(self, percent: int) -> None:
        for kept in ([], [resource()]):
            scaling = one([single("istio-proxy", percent)], before=kept)

            assert (scaling.before, scaling.now, scaling.state) == (None, percent, Shift.UNKNOWN)
            assert "it looks at istio-proxy, which is no container of" in scaling.reason
            assert ("its owner changed it" in scaling.reason) is bool(kept)

    def test_a_sidecar_beside_the_application_is_not_the_application_alone(self) -> None:
        scaling = one([single(), single("istio-proxy")])

        assert scaling.state is Shift.UNKNOWN
        assert "it looks at istio-proxy" in scaling.reason

    def test_what_is_not_about_cpu_or_memory_is_not_judged(self) -> None:
        assert judged([PODS]) == ()


class TestRemedies:
    @pytest.mark.parametrize(
        ("remedy", "expected"),
        [(Remedy.CONTAINER_RESOURCE, single()), (Remedy.AVERAGE_VALUE, average("70m"))],
    )
    def test_the_mended_point_is_the_one_without_sidecar(
        self, remedy: Remedy, expected: Item
    ) -> None:
        items = mended([resource()], [], judged([resource()]), remedy)

        assert items == [expected]
        scaling = one(items, before=[resource()])
        assert (scaling.before, scaling.unmended, scaling.now) == (70, 140, 70)
        assert scaling.state is Shift.IN_PLACE

    def test_only_what_is_moved_is_replaced_and_the_order_kept(self) -> None:
        items = [PODS, resource(), average("1Gi", "memory")]

        assert mended(items, [], judged(items), Remedy.CONTAINER_RESOURCE) == [
            PODS,
            single(),
            average("1Gi", "memory"),
        ]

    def test_an_amount_beside_the_percentage_is_kept(self) -> None:
        items = [average("100m"), resource()]

        assert mended(items, [], judged(items), Remedy.AVERAGE_VALUE) == [
            average("100m"),
            average("70m"),
        ]

    def test_memory_and_cpu_are_both_mended(self) -> None:
        items = [resource("memory", 50), resource()]

        assert mended(items, [], judged(items), Remedy.AVERAGE_VALUE) == [
            average("128Mi", "memory"),
            average("70m"),
        ]

    def test_every_container_of_the_application_gets_its_own_target(self) -> None:
        two = {"containers": [WEB, container("worker", cpu="300m")]}
        pod = {**two, "initContainers": [NATIVE]}

        items = mended([resource()], [], judged([resource()], two, pod), Remedy.CONTAINER_RESOURCE)

        assert items == [single(), single("worker")]
        assert one(items, two, pod, before=[resource()]).now == 280

    def test_what_is_mended_stays_as_it_is(self) -> None:
        for items in ([single()], [average("70m")]):
            scaled = judged(items, before=[resource()])
            assert not any(scaling.needs_remedy for scaling in scaled)
            assert mended(items, [resource()], scaled, Remedy.CONTAINER_RESOURCE) == items

    def test_an_amount_that_stayed_behind_is_renewed(self) -> None:
        bigger = {"containers": [container("web", cpu="200m")]}
        scaled = judged(
            [average("70m")], bigger, {**bigger, "initContainers": [NATIVE]}, before=[resource()]
        )

        assert scaled[0].state is Shift.MOVED
        assert mended([average("70m")], [resource()], scaled, Remedy.AVERAGE_VALUE) == [
            average("140m")
        ]
        assert mended([average("70m")], [resource()], scaled, Remedy.CONTAINER_RESOURCE) == [
            single()
        ]

    def test_whoever_writes_a_percentage_again_means_it(self) -> None:
        scaling = one([resource(percent=50)], before=[resource(percent=70)])

        assert (scaling.before, scaling.now) == (50, 100)

    def test_another_percentage_of_the_container_is_its_owners_wish(self) -> None:
        scaling = one([single(percent=95)], before=[resource()])

        assert (scaling.before, scaling.now, scaling.state) == (95, 95, Shift.IN_PLACE)
        assert scaling.reason == (
            "it looks at the application's containers alone; its owner changed it since the remedy"
        )

    def test_what_the_runbook_did_is_no_change_of_its_owner(self) -> None:
        memory = average("1Gi", "memory")
        for scaling in judged([single(), memory], before=[resource(), memory]):
            assert scaling.state is Shift.IN_PLACE
            assert "its owner changed it" not in scaling.reason

    def test_a_remedy_that_lacks_a_new_container_is_renewed(self) -> None:
        two = {"containers": [WEB, container("worker", cpu="300m")]}
        scaling = one([single()], two, {**two, "initContainers": [NATIVE]}, before=[resource()])

        assert (scaling.before, scaling.now, scaling.state) == (280, 70, Shift.MOVED)
        assert mended([single()], [resource()], [scaling], Remedy.CONTAINER_RESOURCE) == [
            single(),
            single("worker"),
        ]

    def test_many_small_containers_are_not_moved_by_rounding(self) -> None:
        names = [f"c{number}" for number in range(5)]
        five = {"containers": [container(name, cpu="5m") for name in names]}

        scaling = one([single(name) for name in names], five, five, before=[resource()])

        assert (scaling.before, scaling.now, scaling.state) == (18, 18, Shift.IN_PLACE)

    def test_smaller_requests_are_near_for_cpu_and_not_for_memory(self) -> None:
        cpu = one([resource()])
        memory = one([resource("memory", 50)])

        after = cpu.after(Remedy.SIDECAR_REQUESTS, 10)
        assert (after, compare(after, 70)) == (77, Shift.NEAR)
        after = memory.after(Remedy.SIDECAR_REQUESTS, 64 * MEBI)
        assert compare(after, 128 * MEBI) is Shift.MOVED


class TestWanted:
    """What an autoscaler's owner wants, whatever the runbook has replaced."""

    CPU, MEMORY = resource(), resource("memory", 80)

    @pytest.mark.parametrize(
        ("now", "kept", "expected"),
        [
            ([CPU, PODS], [], [CPU, PODS]),
            ([single()], [CPU], [CPU]),
            ([single(), single("worker")], [CPU], [CPU]),
            ([average("70m")], [CPU], [CPU]),
            # Added since: it is kept beside what was there before.
            ([single(), MEMORY], [CPU], [CPU, MEMORY]),
            ([PODS, single()], [CPU], [PODS, CPU]),
            ([average("1Gi", "memory"), single()], [CPU], [average("1Gi", "memory"), CPU]),
            # Removed since.
            ([single()], [CPU, PODS, MEMORY], [CPU]),
            # Written again since, by itself or next to the remedy.
            ([resource(percent=50)], [CPU], [resource(percent=50)]),
            ([single(), resource(percent=50)], [CPU], [resource(percent=50)]),
            # No remedy makes these of 70 %.
            ([single(percent=95)], [CPU], [single(percent=95)]),
            ([single("istio-proxy")], [CPU], [single("istio-proxy")]),
            # Its owner's own amount beside a percentage is no remedy.
            ([average("100m"), average("70m")], [average("100m"), CPU], [average("100m"), CPU]),
        ],
    )
    def test_remedies_stand_for_what_is_kept(
        self, now: list[Item], kept: list[Item], expected: list[Item]
    ) -> None:
        assert desired(now, kept) == expected

    def test_a_second_metric_is_mended_beside_the_first_and_both_are_kept(self) -> None:
        items = [single(), self.MEMORY]
        scaled = judged(items, before=[self.CPU])

        assert [scaling.needs_remedy for scaling in scaled] == [False, True]
        assert mended(items, [self.CPU], scaled, Remedy.CONTAINER_RESOURCE) == [
            single(),
            single("web", 80, "memory"),
        ]

    def test_a_percentage_written_next_to_the_remedy_replaces_it(self) -> None:
        items = [single(), resource(percent=50)]

        scaled = judged(items, before=[self.CPU])

        assert mended(items, [self.CPU], scaled, Remedy.CONTAINER_RESOURCE) == [single(percent=50)]


class TestQuantities:
    @pytest.mark.parametrize(
        ("resource", "text", "expected"),
        [
            ("cpu", "100m", 100),
            ("cpu", "0.1", 100),
            ("cpu", "2", 2000),
            ("cpu", "1500000n", 2),
            ("memory", "128Mi", 128 * MEBI),
            ("memory", "1G", 10**9),
            ("memory", "1024", 1024),
        ],
    )
    def test_an_amount_is_read_and_rounded_up(
        self, resource: str, text: str, expected: int
    ) -> None:
        assert amount(resource, text) == expected

    @pytest.mark.parametrize(
        ("resource", "of", "text"),
        [("cpu", 70, "70m"), ("memory", 128 * MEBI, "128Mi"), ("memory", 1000, "1000")],
    )
    def test_a_quantity_is_exact(self, resource: str, of: int, text: str) -> None:
        assert quantity(resource, of) == text
        assert amount(resource, text) == of

    def test_people_get_rounded_words(self) -> None:
        assert words("memory", 187904819) == "179.2Mi"
        assert words("cpu", None) == "unknown"

    def test_metrics_are_named(self) -> None:
        texts = [Metric.of(each).text for each in (resource(), single(), average("70m"), PODS)]

        assert texts == [
            "cpu of the pod: 70 %",
            "cpu of web: 70 %",
            "cpu of the pod: 70m",
            "Pods requests_per_second",
        ]


def shown(*found: tuple[Scaling, ...]) -> ScaleOut:
    named = tuple(
        Autoscaler(f"a<{number}>", "StatefulSet/web", each[0].metrics if each else (), each, "1")
        for number, each in enumerate(found)
    )
    return ScaleOut("xnat", named, Remedy.CONTAINER_RESOURCE, PROXY_REQUESTS)


def cases(scaling: Scaling) -> dict[str, Comparison]:
    found = rows(scaling, Remedy.CONTAINER_RESOURCE, PROXY_REQUESTS[scaling.resource])
    return {row.label: row for row in found}


class TestComparison:
    def test_all_remedies_are_shown_and_the_chosen_one_is_marked(self) -> None:
        found = cases(one([resource()], usage=Usage(12, 9)))

        assert {label: row.point for label, row in found.items()} == {
            "without sidecar": 70,
            "with the sidecar": 140,
            "container-resource": 70,
            "average-value": 70,
            "sidecar-requests": 77,
        }
        assert [label for label, row in found.items() if row.chosen] == ["container-resource"]

    def test_a_busy_sidecar_takes_its_part_of_an_amount(self) -> None:
        found = cases(one([resource()], usage=Usage(12, 30)))

        assert "the application at 40m" in found["average-value"].remark
        assert "the application at 47m" in found["sidecar-requests"].remark
        assert found["container-resource"].remark == ""

    def test_after_the_remedy_it_shows_what_it_was_good_for(self) -> None:
        found = cases(one([single()], before=[resource()]))

        assert [row.point for row in found.values()] == [70, 140, 70]
        assert [part.counted for part in found["now"].parts] == [True, False]

    def test_what_cannot_be_computed_is_one_row_with_the_reason(self) -> None:
        bare = {"containers": [{"name": "web"}]}

        (row,) = cases(one([resource()], bare, bare)).values()

        assert row.state is Shift.UNKNOWN
        assert "no cpu request" in row.remark

    def test_text_and_picture_say_the_same_and_escape(self) -> None:
        both = shown(judged([resource(), resource("memory", 50)], usage=Usage(12, 9)))

        picture = scale_out_html(both)
        drawn = [node.text or "" for node in ET.fromstring(picture).iter()]

        assert "<0>" not in picture
        for each in ("above 70m", "above 140m", "above 128Mi", "application 12m, sidecar 9m"):
            assert any(each in text for text in drawn), each
            assert each in str(both), each
        assert "with the sidecar: above 140m (moved by the sidecar)" in both.summary

    def test_what_no_remedy_mends_is_the_reason_and_the_controllers_words(self) -> None:
        bare = {"containers": [{"name": "web"}]}
        scalings_found = judged([resource()], bare, bare)
        said = Condition(
            "ScalingActive", "False", "FailedGetResourceMetric", "missing request for cpu"
        )

        broken = Autoscaler("a", "StatefulSet/web", (), scalings_found, "1", (said,))

        assert not broken.computed
        assert broken.troubles == (scalings_found[0].reason, str(said))

    def test_a_moved_autoscaler_is_no_trouble_that_stays(self) -> None:
        moved = Autoscaler("a", "StatefulSet/web", (), judged([resource()]), "1")

        assert moved.computed
        assert moved.troubles == ()

    def test_an_autoscaler_whose_target_is_gone_is_not_called_blind_to_cpu(self) -> None:
        metrics = (Metric.of(resource()),)
        gone = Autoscaler(
            "a", "Deployment/gone", metrics, (), "0", broken=("there is no Deployment/gone",)
        )

        nothing = ScaleOut("xnat", (gone,), Remedy.CONTAINER_RESOURCE, PROXY_REQUESTS).nothing

        assert nothing == "No point can be computed in xnat."

    @pytest.mark.parametrize(
        ("found", "expected"),
        [((), "There is no HorizontalPodAutoscaler in xnat."), (((),), "looks at CPU or memory")],
    )
    def test_nothing_to_compare_is_said(self, found: Any, expected: str) -> None:
        nothing = shown(*found)

        assert expected in str(nothing)
        assert expected in scale_out_html(nothing)
