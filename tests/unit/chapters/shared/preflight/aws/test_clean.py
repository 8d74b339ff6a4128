from __future__ import annotations
import pytest
from runbook_lib.chapters.shared.preflight.aws.looking import looks
from tests.unit.doubles.aws import ENVIRONMENT, EksAccount, server
@pytest.fixture(scope="module")
def url():
    with server() as u: yield u
def test_clean(url, tmp_path, monkeypatch):
    for k,v in {**ENVIRONMENT,"AWS_ENDPOINT_URL":url}.items(): monkeypatch.setenv(k,v)
    import time
    t=time.time()
    a=EksAccount(url); print("built",time.time()-t); t=time.time()
    a=EksAccount(url); print("built",time.time()-t)
    c=a.context(tmp_path)
    for area, see in looks(c):
        t=time.time(); f=see(); print(area.title,time.time()-t)
        for x in f: print("   ",x.name,x.severity,"|",x.text,"->",x.way_out)
