from __future__ import annotations

import copy
from typing import Any

import pytest

from runbook_lib.base.redact import MASK
from runbook_lib.cluster.differences.diff import canonical_yaml, normalise, object_diff
from runbook_lib.cluster.objects import reference

POLICY: dict[str, Any] = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "istio-system"},
    "spec": {"mtls": {"mode": "STRICT"}},
}
CONFIG: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def changed(item: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    result = copy.deepcopy(item)
    result["metadata"].update(metadata)
    return result


def webhook(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "w"},
        "webhooks": [{"name": name, "clientConfig": {"service": {"name": "istiod"}}, **fields}],
    }


def test_a_new_object_is_a_create_with_every_line_added() -> None:
    diff = object_diff(None, POLICY)
    assert (diff.ref, diff.action) == ("PeerAuthentication istio-system/default", "create")
    assert "+    mode: STRICT" in diff.lines
    assert not any(line.startswith("-") for line in diff.lines[2:])


def test_a_change_shows_both_sides() -> None:
    live = copy.deepcopy(POLICY)
    live["spec"]["mtls"]["mode"] = "PERMISSIVE"
    diff = object_diff(live, POLICY)
    assert diff.action == "change"
    assert "-    mode: PERMISSIVE\n+    mode: STRICT" in diff.text


def test_a_removal_is_a_delete() -> None:
    diff = object_diff(POLICY, None)
    assert diff.action == "delete"
    assert "-    mode: STRICT" in diff.lines


def test_nothing_at_all_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="neither"):
        object_diff(None, None)


def test_what_the_cluster_writes_by_itself_is_no_change() -> None:
    live = changed(
        POLICY,
        uid="1",
        resourceVersion="2",
        generation=3,
        creationTimestamp="now",
        managedFields=[{}],
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    )
    live["status"] = {"conditions": []}
    diff = object_diff(live, POLICY)
    assert (diff.action, diff.lines) == ("none", ())


def test_other_annotations_are_changes() -> None:
    live = changed(POLICY, annotations={"istio.io/dry-run": "true"})
    assert "-    istio.io/dry-run: 'true'" in object_diff(live, POLICY).lines


@pytest.mark.parametrize("name", ["rev.namespace.sidecar-injector.istio.io", "x.istio.io"])
def test_what_istiod_fills_in_its_own_webhooks_is_no_change(name: str) -> None:
    live = webhook(name, failurePolicy="Fail")
    live["webhooks"][0]["clientConfig"]["caBundle"] = "LS0t"
    assert object_diff(live, webhook(name, failurePolicy="Ignore")).action == "none"


def test_the_same_fields_of_other_webhooks_are_changes() -> None:
    other = "validate.example.com"
    diff = object_diff(webhook(other, failurePolicy="Fail"), webhook(other, failurePolicy="Ignore"))
    assert diff.action == "change"


def test_normalising_leaves_the_given_object_alone() -> None:
    live = changed(POLICY, uid="1")
    normalise(live)
    assert live["metadata"]["uid"] == "1"


def test_the_digest_is_of_the_change_and_not_of_volatile_fields() -> None:
    first = object_diff(changed(POLICY, uid="1"), changed(POLICY, labels={"a": "b"}))
    again = object_diff(changed(POLICY, uid="2"), changed(POLICY, labels={"a": "b"}))
    other = object_diff(changed(POLICY, uid="1"), changed(POLICY, labels={"a": "c"}))
    assert first.digest == again.digest != other.digest


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    backwards = dict(reversed(list(POLICY.items())))
    assert object_diff(None, POLICY).digest == object_diff(None, backwards).digest


def test_values_of_secrets_are_never_shown_and_still_count() -> None:
    def secret(value: str, **more: str) -> dict[str, Any]:
        return {"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": value, **more}}

    diff = object_diff(secret("b2xkb2xk"), secret("bmV3bmV3", added="YWRkZWQ="))
    assert diff.action == "change"
    assert f"+  key: '{MASK} (changed)'" in diff.lines
    assert f"+  added: '{MASK}'" in diff.lines
    for value in ("b2xkb2xk", "bmV3bmV3", "YWRkZWQ="):
        assert value not in diff.text
    assert diff.digest != object_diff(secret("b2xkb2xk"), secret("b3RoZXI=", added="YQ==")).digest


def test_canonical_yaml_sorts_keys_and_uses_block_style() -> None:
    assert canonical_yaml({"b": [1], "a": {"d": 1, "c": 2}}) == "a:\n  c: 2\n  d: 1\nb:\n- 1\n"


def test_a_reference_names_kind_namespace_and_name() -> None:
    assert reference(POLICY) == "PeerAuthentication istio-system/default"
    assert reference(CONFIG) == "ConfigMap a"


def test_a_change_in_a_file_of_a_config_map_is_a_line_of_the_difference() -> None:
    before = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"f": "a: 1\n  b: 2\n"}}
    after = {**before, "data": {"f": "a: 1\n  b: 3\n"}}
    lines = object_diff(before, after).lines
    assert [line for line in lines if line[:2] in ("+ ", "- ")] == ["-      b: 2", "+      b: 3"]
