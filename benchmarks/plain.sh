#!/usr/bin/env bash
# The procedure as a plain shell script: the same kubectl, helm, istioctl and curl steps that the
# notebooks take on the lab, without plans, approvals, diffs or evidence. The rival to measure by.
# Usage: KUBECONFIG=... CHARTS=... URL=... benchmarks/plain.sh   (kubectl, helm, istioctl on PATH)
set -euo pipefail

# Wait until a request answers as expected three times in a row; each is a new connection.
expect() { # METHOD STATUS
  local method=$1 want=$2 got streak=0 deadline=$((SECONDS + 60)) flags=(-X "$1")
  local page=/app/template/Login.vm
  [ "$method" = POST ] && page=/login # which asks the database
  [ "$method" = HEAD ] && flags=(-I)
  while [ "$streak" -lt 3 ]; do
    got=$(curl -s -o /dev/null -w '%{http_code}' "${flags[@]}" --max-time 10 "$URL$page" || true)
    if [ "$got" = "$want" ]; then streak=$((streak + 1)); else streak=0; sleep 0.2; fi
    [ "$SECONDS" -lt "$deadline" ] || { echo "$method answers $got, not $want" >&2; exit 1; }
  done
  echo "  $method $want"
}

peer_authentication() { # NAMESPACE; the rest of spec on standard input
  { printf 'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n'
    printf 'metadata: {name: default, namespace: %s}\nspec:\n' "$1"; cat; } | kubectl apply -f -
}

authorization() { # METHODS
  kubectl apply -f - <<YAML
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: xnat-all, namespace: xnat}
spec:
  selector: {matchLabels: {app: xnat-web}}
  rules: [{to: [{operation: {methods: [$1]}}, {operation: {ports: ["8104"]}}]}]
YAML
}

echo "# install"
istioctl version --remote=false
helm version --short
istioctl x precheck
kubectl get namespace istio-system >/dev/null 2>&1 || kubectl create namespace istio-system
helm upgrade --install istio-base "$CHARTS/base" -n istio-system --wait >/dev/null
helm upgrade --install istiod "$CHARTS/istiod" -n istio-system --wait \
  --set telemetry.enabled=false \
  --set-string pilot.env.PILOT_ENABLE_ALPN_FILTER=false \
  --set-string pilot.env.PILOT_ENABLE_METADATA_EXCHANGE=false >/dev/null
istioctl version
expect GET 200

echo "# inject"
kubectl label namespace xnat istio-injection=enabled --overwrite
kubectl get namespace xnat --show-labels
for workload in xnat-postgresql xnat-xnat-web; do
  kubectl -n xnat rollout restart "statefulset/$workload"
  kubectl -n xnat rollout status "statefulset/$workload" --timeout 120s
done
kubectl -n xnat get pods
expect GET 200; expect HEAD 200; expect POST 302

echo "# autoscaling"
kubectl -n xnat patch hpa xnat-xnat-web --type json --patch '[{"op": "replace", "path": "/spec/metrics",
  "value": [{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "xnat",
  "target": {"type": "Utilization", "averageUtilization": 70}}}]}]'
kubectl -n xnat wait hpa/xnat-xnat-web --timeout 120s \
  --for jsonpath='{.status.currentMetrics[0].type}'=ContainerResource
kubectl -n xnat get hpa

echo "# mutual TLS"
peer_authentication istio-system <<<'  mtls: {mode: STRICT}'
for method in GET HEAD POST; do expect "$method" 502; done
peer_authentication xnat <<YAML
  selector: {matchLabels: {app: xnat-web}}
  mtls: {mode: STRICT}
  portLevelMtls: {8080: {mode: DISABLE}, 8104: {mode: DISABLE}} # 8104: DICOM
YAML
expect GET 200; expect HEAD 200; expect POST 302
kubectl get peerauthentication --all-namespaces

echo "# authorization"
kubectl apply -f - <<YAML
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: xnat-xnat-web, namespace: xnat}
spec:
  host: xnat-xnat-web.xnat.svc.cluster.local
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL}
    portLevelSettings: [{port: {number: 8080}, tls: {mode: DISABLE}}]
YAML
authorization '"GET", "HEAD"'
expect GET 200; expect HEAD 200; expect POST 403
authorization '"GET", "HEAD", "POST"'
expect POST 302; expect DELETE 403
