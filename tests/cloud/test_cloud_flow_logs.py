"""Flow logs: creating, changing, finding, and which ENIs they cover."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.cloud.flow_logs import family
from emulator.cloud.names import check_flow_log_name
from emulator.errors import AlreadyExists, InvalidValue, NotFound, QuotaExceeded, RequestRefused, Unsupported
from emulator.providers import PROFILES, profile

RANGE = "InvalidParameterValue.Range"
NAME = "IllegalParam.FlowLogName"
TEXT = "IllegalParam.Description"
TAGS_21 = {str(number): "" for number in range(21)}


def table(*rows):
    """Parameters whose first column is the row's id."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


def log(there, resource=None, **more):
    return there.cloud.create_flow_log(resource or there.eni.id, **{"topic_id": "topic-1", "now_s": 100, **more})


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_not_said_is_the_providers(make, name):
    there = make(name)
    created = log(there)
    assert created.name == created.id
    assert (created.traffic, created.interval_s, created.created_s) == ("ALL", there.cloud.profile.window_s, 100)
    assert (created.resource_type, created.vpc_id, created.region) == ("eni", there.vpc.id, there.vpc.region)
    assert (created.tags, created.description, created.enabled) == ({}, "", True)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize(
    ("word", "traffic"),
    [("ALL", "ALL"), ("all", "ALL"), ("All", "ALL"), ("Accept", "ACCEPT"), ("reject", "REJECT"), ("Allow", "ACCEPT"),
     ("Drop", "REJECT"), (" DROP ", "REJECT")],
)  # fmt: skip
def test_every_provider_understands_every_word(make, name, word, traffic):
    assert log(make(name), traffic=word).traffic == traffic


@pytest.mark.parametrize(
    ("name", "wrong", "error", "code"),
    table(
        ("banana", "tencent", {"traffic": "BANANA"}, InvalidValue, "InvalidParameterValue"),
        ("traffic-none", "tencent", {"traffic": None}, InvalidValue, "InvalidParameterValue"),
        ("on-nothing", "tencent", {"resource": "eni-nothing0"}, NotFound, "ResourceNotFound"),
        ("no-topic", "tencent", {"topic_id": ""}, InvalidValue, "InvalidParameterValue.Empty"),
        ("interval", "tencent", {"interval_s": 60}, InvalidValue, RANGE),
        ("name-empty", "tencent", {"name": ""}, InvalidValue, RANGE),
        ("name-61", "tencent", {"name": "x" * 61}, InvalidValue, RANGE),
        ("text-513", "tencent", {"description": "x" * 513}, InvalidValue, RANGE),
        ("tags-no-dict", "tencent", {"tags": "k=v"}, InvalidValue, "InvalidParameterValue.TagInvalidKey"),
        ("tag-empty", "tencent", {"tags": {"": "v"}}, InvalidValue, "InvalidParameterValue.TagInvalidKeyLen"),
        ("tag-qcs", "tencent", {"tags": {"qcs:a": "v"}}, InvalidValue, "InvalidParameterValue.TagInvalidKey"),
        ("tag-value", "tencent", {"tags": {"k": 7}}, InvalidValue, "InvalidParameterValue.TagInvalidVal"),
        ("tags-21", "tencent", {"tags": TAGS_21}, InvalidValue, "LimitExceeded.TagKeyPerResourceExceeded"),
        ("alibaba-banana", "alibaba", {"traffic": "BANANA"}, InvalidValue, "IllegalParam.TrafficType"),
        ("alibaba-nothing", "alibaba", {"resource": "vsw-nothing"}, NotFound, "ResourceNotFound.ResourceId"),
        ("alibaba-interval", "alibaba", {"interval_s": 120}, InvalidValue, "IllegalParam.AggregationInterval"),
        ("alibaba-http", "alibaba", {"name": "http://x"}, InvalidValue, NAME),
        ("alibaba-short", "alibaba", {"name": "x"}, InvalidValue, NAME),
        ("alibaba-long", "alibaba", {"name": "x" * 129}, InvalidValue, NAME),
        ("alibaba-digit-first", "alibaba", {"name": "7up"}, InvalidValue, NAME),
        ("alibaba-accent", "alibaba", {"name": "été"}, InvalidValue, NAME),
        ("alibaba-blank", "alibaba", {"name": "a b"}, InvalidValue, NAME),
        ("alibaba-newline", "alibaba", {"name": "ab\n"}, InvalidValue, NAME),
        ("alibaba-text-1", "alibaba", {"description": "x"}, InvalidValue, TEXT),
        ("alibaba-text-257", "alibaba", {"description": "x" * 257}, InvalidValue, TEXT),
        ("alibaba-text-http", "alibaba", {"description": "https://x"}, InvalidValue, TEXT),
        ("alibaba-tag-acs", "alibaba", {"tags": {"acs:k": ""}}, InvalidValue, "IllegalParam.TagKey"),
        ("alibaba-no-logstore", "alibaba", {"topic_id": ""}, InvalidValue, "MissingParam.LogStoreName"),
        ("2019-interval", "alibaba-2019", {"interval_s": 60}, InvalidValue, "INVALID_PARAMETER"),
    ),
)  # fmt: skip
def test_refused(make, name, wrong, error, code):
    there = make(name)
    with pytest.raises(error) as refused:
        log(there, **wrong)
    assert refused.value.code == code
    assert not there.cloud.flow_logs


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("tencent", {"name": "http://any characters 中文 🛰️", "description": "line\nline"}),
        ("tencent", {"interval_s": 300, "tags": {"empty": ""}}),
        ("tencent", {"name": "x" * 60, "description": "x" * 512}),
        ("alibaba", {"name": "流量-log_1", "description": "ab"}),
        ("alibaba", {"interval_s": 60, "name": "x" * 128}),
    ],
)
def test_accepted(make, name, accepted):
    created = log(make(name), **accepted)
    assert all(getattr(created, field) == value for field, value in accepted.items())


def test_tencent_logs_a_resource_once_alibaba_as_often_as_asked(tencent, alibaba):
    first = log(tencent)
    with pytest.raises(AlreadyExists, match=first.id) as refused:
        log(tencent)
    assert refused.value.code == "UnsupportedOperation.FlowLogInstanceExisted"
    log(tencent, tencent.subnet.id)
    log(tencent, tencent.vpc.id)
    assert len(tencent.cloud.flow_logs_covering(tencent.eni.id)) == 3
    log(alibaba, name="same")
    log(alibaba, name="same", traffic="DROP")
    assert len(alibaba.cloud.flow_logs_covering(alibaba.eni.id)) == 2


def test_names_count_at_tencent(tencent):
    first, second = log(tencent, name="x"), log(tencent, tencent.subnet.id, name="y")
    for act in (
        lambda: log(tencent, tencent.vpc.id, name="x"),
        lambda: tencent.cloud.modify_flow_log(second.id, name="x"),
    ):
        with pytest.raises(AlreadyExists) as refused:
            act()
        assert refused.value.code == "InvalidParameterValue.Duplicate"
    assert tencent.cloud.modify_flow_log(first.id, name="x").name == "x"
    elsewhere = tencent.cloud.create_vpc("10.0.0.0/16", region="ap-tokyo")
    assert log(tencent, elsewhere.id, name="x").region == "ap-tokyo"


def test_an_eni_of_a_foreign_vpc(tencent):
    foreign = tencent.cloud.create_vpc("10.0.0.0/16")
    with pytest.raises(InvalidValue, match="not in") as refused:
        log(tencent, vpc_id=foreign.id)
    assert refused.value.reason == "flow_log.vpc"
    with pytest.raises(NotFound):
        log(tencent, vpc_id="vpc-nothing0")
    assert log(tencent, vpc_id=tencent.vpc.id)


def test_not_on_a_cvm(tencent):
    with pytest.raises(InvalidValue, match=tencent.eni.id):
        log(tencent, tencent.cvm.id)


@pytest.mark.parametrize("kind", ["subnet", "vpc"])
def test_tencent_2020_logs_enis_only(make, kind):
    there = make("tencent-2020")
    with pytest.raises(Unsupported, match="logs eni only"):
        log(there, getattr(there, kind).id)
    assert log(there)


def test_an_eni_without_a_cvm(tencent, alibaba):
    idle = tencent.cloud.create_eni(tencent.subnet.id)
    with pytest.raises(Unsupported) as refused:
        log(tencent, idle.id)
    assert refused.value.code == "UnsupportedOperation.FlowLogsNotSupportNullInstanceEni"
    idle = alibaba.cloud.create_eni(alibaba.subnet.id)
    created = log(alibaba, idle.id)
    assert alibaba.cloud.flow_logs_covering(idle.id) == ()
    alibaba.cloud.attach_eni(idle.id, alibaba.cvm.id)
    assert alibaba.cloud.flow_logs_covering(idle.id) == (created,)


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("tencent", "S3.SMALL1", "UnsupportedOperation.FlowLogsNotSupportKoInstanceEni"),
        ("alibaba", "ecs.sn1.large", "OperationDenied.InstanceTypeNotSupported"),
        ("tencent", "S5.MEDIUM2", None),
        ("tencent-2020", "S3.SMALL1", None),
        ("alibaba", "ecs.sn1ne.large", None),
    ],
)
def test_instance_families(make, name, kind, code):
    there = make(name)
    _, eni = there.cloud.create_cvm(there.subnet.id, instance_type=kind)
    if code is None:
        log(there, eni.id)
        assert there.cloud.flow_logs_covering(eni.id)
        return
    with pytest.raises(Unsupported) as refused:
        log(there, eni.id)
    assert refused.value.code == code
    log(there, there.subnet.id)
    assert there.cloud.flow_logs_covering(eni.id) == ()
    assert there.cloud.flow_logs_covering(there.eni.id)


@pytest.mark.parametrize(
    ("kind", "its"), [("ecs.sn1ne.large", "sn1ne"), ("S5.MEDIUM2", "S5"), ("ecs", "ecs"), ("odd", "odd"), ("", "")]
)
def test_family(kind, its):
    assert family(kind) == its


@pytest.mark.parametrize(("name", "code"), [("tencent", "LimitExceeded"), ("alibaba", "QuotaExceeded.FlowLog")])
def test_the_eleventh(make, name, code):
    there = make(name)
    for _ in range(10):
        log(there, there.cloud.create_cvm(there.subnet.id)[1].id)
    with pytest.raises(QuotaExceeded) as refused:
        log(there)
    assert refused.value.code == code
    there.cloud.quotas["flow_logs"] = 11
    log(there)


def test_covering(alibaba):
    cloud = alibaba.cloud
    on_vpc, on_subnet, on_eni = (log(alibaba, it.id) for it in (alibaba.vpc, alibaba.subnet, alibaba.eni))
    assert cloud.flow_logs_covering(alibaba.eni.id) == (on_vpc, on_subnet, on_eni)
    _, late = cloud.create_cvm(alibaba.subnet.id)
    assert cloud.flow_logs_covering(late.id) == (on_vpc, on_subnet)
    _, beside = cloud.create_cvm(cloud.create_subnet(alibaba.vpc.id, "10.16.1.0/24").id)
    assert cloud.flow_logs_covering(beside.id) == (on_vpc,)
    cloud.set_flow_log_enabled(on_vpc.id, False)
    assert cloud.flow_logs_covering(beside.id) == ()
    cloud.set_flow_log_enabled(on_vpc.id, True)
    assert [covering.id for covering in cloud.flow_logs_covering(beside.id)] == [on_vpc.id]
    cloud.delete_flow_log(on_vpc.id)
    assert cloud.flow_logs_covering(beside.id) == ()


def test_the_shortest_interval_holds(alibaba):
    cloud = alibaba.cloud
    assert cloud.window_of(alibaba.eni.id) == 600
    log(alibaba, alibaba.vpc.id)
    short = log(alibaba, interval_s=60)
    assert cloud.window_of(alibaba.eni.id) == 60
    cloud.set_flow_log_enabled(short.id, False)
    assert cloud.window_of(alibaba.eni.id) == 600
    cloud.set_flow_log_enabled(short.id, True)
    cloud.modify_flow_log(short.id, interval_s=300)
    assert cloud.window_of(alibaba.eni.id) == 300


def test_modify(alibaba):
    cloud = alibaba.cloud
    created = log(alibaba, name="before", description="text", tags={"a": "1"})
    changed = cloud.modify_flow_log(created.id, name="after", tags={})
    assert (changed.name, changed.description, changed.tags) == ("after", "text", {})
    assert cloud.modify_flow_log(created.id, description="").description == ""
    with pytest.raises(InvalidValue):
        cloud.modify_flow_log(created.id, name="again", interval_s=7)
    assert cloud.flow_logs[created.id].name == "after"


@pytest.mark.parametrize(
    "act",
    [
        lambda cloud: cloud.modify_flow_log("fl-x", name="ab"),
        lambda cloud: cloud.set_flow_log_enabled("fl-x", True),
        lambda cloud: cloud.delete_flow_log("fl-x"),
    ],
    ids=["modify", "enable", "delete"],
)
def test_a_flow_log_that_is_not_there(alibaba, act):
    with pytest.raises(NotFound) as refused:
        act(alibaba.cloud)
    assert refused.value.code == "ResourceNotFound.FlowLog"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "pqr"),
        ({"name": "qq"}, "q"),
        ({"resource_type": "eni"}, "p"),
        ({"traffic": "drop"}, "r"),
        ({"topic_id": "topic-2"}, "q"),
        ({"tags": {"team": None}}, "pq"),
        ({"tags": {"team": "net"}}, "p"),
        ({"tags": {"team": ""}}, "q"),
        ({"tags": {"team": None, "more": "yes"}}, "q"),
        ({"tags": {"other": None}}, ""),
        ({"enabled": False}, "r"),
        ({"region": "cn-beijing"}, ""),
        ({"ids": ["nothing"]}, ""),
        ({"traffic": "ALL", "tags": {"team": "net"}}, "p"),
    ],
    ids=str,
)
def test_describe(alibaba, filters, found):
    log(alibaba, name="pp", tags={"team": "net"})
    log(alibaba, alibaba.subnet.id, name="qq", tags={"team": "", "more": "yes"}, topic_id="topic-2")
    alibaba.cloud.set_flow_log_enabled(log(alibaba, alibaba.vpc.id, name="rr", traffic="DROP").id, False)
    page, total = alibaba.cloud.describe_flow_logs(**filters)
    assert "".join(it.name[0] for it in page) == found
    assert total == len(found)


def test_paging(alibaba):
    ids = [log(alibaba).id for _ in range(5)]
    page, total = alibaba.cloud.describe_flow_logs(offset=1, limit=2)
    assert ([it.id for it in page], total) == (ids[1:3], 5)
    assert alibaba.cloud.describe_flow_logs(limit=0) == ([], 5)
    assert alibaba.cloud.describe_flow_logs(offset=9) == ([], 5)
    assert alibaba.cloud.describe_flow_logs(ids=ids[3:])[1] == 2
    for wrong in ({"offset": -1}, {"limit": -1}, {"limit": 1.5}, {"offset": True}):
        with pytest.raises(InvalidValue):
            alibaba.cloud.describe_flow_logs(**wrong)


def test_flow_logs_go_with_what_they_are_on(tencent):
    cloud = tencent.cloud
    log(tencent)
    log(tencent, tencent.subnet.id)
    kept = log(tencent, tencent.vpc.id)
    cloud.delete_cvm(tencent.cvm.id)
    cloud.delete_subnet(tencent.subnet.id)
    assert list(cloud.flow_logs) == [kept.id]
    cloud.delete_vpc(tencent.vpc.id)
    assert not cloud.flow_logs


@given(name=st.text(max_size=140) | st.from_regex(r"[a-z中][a-z0-9_-]{0,130}", fullmatch=True))
def test_law_alibabas_names(name):
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    chinese = {character for character in name if "\u4e00" <= character <= "\u9fff"}
    good = (
        2 <= len(name) <= 128
        and (name[0] in letters or name[0] in chinese)
        and all(character in letters + "0123456789-_" or character in chinese for character in name)
    )
    try:
        assert check_flow_log_name(profile("alibaba"), name) == name
        assert good
    except RequestRefused:
        assert not good
