"""Flow logs as a user of ``Lab`` meets them: names, tags, quotas, describing, and what each provider refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.errors import AlreadyExists, InvalidValue, NotFound, QuotaExceeded, RequestRefused, Unsupported
from emulator.providers import PROFILES

pytestmark = pytest.mark.kernel


def names(found: tuple[list[Any], int]) -> tuple[list[str], int]:
    logs, total = found
    return [log.name for log in logs], total


def test_a_flow_log_shows_what_it_was_created_with(build: Callable[..., Any]) -> None:
    site = build("alibaba")

    log = site.a.eni.create_flow_log(
        "网络_log-1",
        topic=site.topic,
        traffic="drop",
        interval_s=60,
        tags={"team": "net", "empty": ""},
        description="why",
    )

    model = log.model
    assert (log.name, model.traffic, model.interval_s, model.description) == ("网络_log-1", "REJECT", 60, "why")
    assert (model.tags, model.resource_type, model.resource_id) == ({"team": "net", "empty": ""}, "eni", site.a.eni.id)
    assert (model.region, model.vpc_id, model.created_s) == ("cn-hangzhou", site.vpc.id, site.lab.clock.now)
    assert log.enabled
    assert log.topic is site.topic
    assert site.lab.find("网络_log-1") == site.lab.find(log.id) == log


@pytest.mark.parametrize("profile", PROFILES)
def test_a_flow_log_without_a_name_is_named_by_its_id(build: Callable[..., Any], profile: str) -> None:
    site = build(profile)

    log = site.a.eni.create_flow_log(topic=site.topic)

    assert log.name == log.id
    assert log.id.startswith("fl-")
    assert (log.model.traffic, log.model.interval_s) == ("ALL", PROFILES[profile].window_s)


@pytest.mark.parametrize("word", ["all", "ALL", "Accept", "reject", "Allow", "DROP"])
@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_traffic_in_any_case_and_in_the_providers_words(build: Callable[..., Any], profile: str, word: str) -> None:
    site = build(profile)

    log = site.a.eni.create_flow_log(topic=site.topic, traffic=word)

    assert log.model.traffic == {"allow": "ACCEPT", "drop": "REJECT"}.get(word.lower(), word.upper())


def test_describing_by_every_filter_and_by_pages(build: Callable[..., Any]) -> None:
    site = build()
    other = site.lab.logs.create_topic("other", logset="test")
    away = site.lab.create_vpc("10.16.0.0/16", name="away")
    subnet = away.create_subnet("10.16.0.0/24")
    logs = {
        "eni": site.a.eni.create_flow_log("eni", topic=site.topic, traffic="ACCEPT", tags={"team": "net"}),
        "subnet": site.web.create_flow_log("subnet", topic=other, traffic="REJECT", tags={"team": "", "x": "1"}),
        "vpc": site.vpc.create_flow_log("vpc", topic=site.topic),
        "away": subnet.create_flow_log("away", topic=other, tags={"team": "net"}),
    }
    logs["vpc"].disable()

    def found(**filters: Any) -> list[str]:
        return names(site.lab.describe_flow_logs(**filters))[0]

    assert found() == ["eni", "subnet", "vpc", "away"]
    assert found(ids=[logs["vpc"].id, logs["eni"].id, "fl-nothing"]) == ["eni", "vpc"]
    assert found(name="subnet") == ["subnet"]
    assert found(resource_type="subnet") == ["subnet", "away"]
    assert found(resource_id=site.web.id) == ["subnet"]
    assert found(vpc_id=away.id) == ["away"]
    assert found(traffic="drop") == ["subnet"]
    assert found(topic_id=other.id) == ["subnet", "away"]
    assert found(enabled=False) == ["vpc"]
    assert found(tags={"team": None}) == ["eni", "subnet", "away"]
    assert found(tags={"team": ""}) == ["subnet"]
    assert found(tags={"team": "net"}, topic_id=other.id) == ["away"]
    assert found(tags={"x": "2"}) == found(name="Subnet") == []

    pages = [names(site.lab.describe_flow_logs(offset=at, limit=3)) for at in (0, 3, 6)]
    assert pages == [(["eni", "subnet", "vpc"], 4), (["away"], 4), ([], 4)]
    assert site.lab.describe_flow_logs(limit=0) == ([], 4)
    for bad in ({"offset": -1}, {"limit": -1}, {"limit": 1.5}, {"limit": True}):
        with pytest.raises(InvalidValue, match="whole number"):
            site.lab.describe_flow_logs(**bad)


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_what_can_be_modified(build: Callable[..., Any], profile: str) -> None:
    site = build(profile)
    log = site.a.eni.create_flow_log("before", topic=site.topic, tags={"a": "1"}, description="old")

    log.modify()
    log.modify(name="after", description="", tags={})
    if profile == "alibaba":
        log.modify(interval_s=60)

    model = log.model
    assert (model.name, model.description, model.tags) == ("after", "", {})
    assert model.interval_s == (60 if profile == "alibaba" else 300)
    with pytest.raises(InvalidValue, match="profile"):
        log.modify(interval_s=120)


def test_enabling_twice_and_disabling_twice_is_no_mistake(build: Callable[..., Any]) -> None:
    site = build()
    log = site.a.eni.create_flow_log(topic=site.topic)

    for call, enabled in ((log.enable, True), (log.disable, False), (log.disable, False), (log.enable, True)):
        call()
        assert log.enabled is enabled


def test_a_deleted_flow_log_says_so_and_its_topic_stays(build: Callable[..., Any]) -> None:
    site = build()
    log = site.a.eni.create_flow_log("gone", topic=site.topic)
    log.delete()

    for use in (log.delete, log.enable, lambda: log.modify(name="x"), lambda: log.model, lambda: log.enabled):
        with pytest.raises(NotFound, match=log.id):
            use()
    assert "gone" in repr(log)
    assert site.topic.search() == []
    assert site.lab.describe_flow_logs() == ([], 0)


@pytest.mark.parametrize(("profile", "code"), [("tencent", "LimitExceeded"), ("alibaba", "QuotaExceeded.FlowLog")])
def test_ten_in_a_region_and_as_many_as_the_quota_says(build: Callable[..., Any], profile: str, code: str) -> None:
    site = build(profile)
    enis = [site.web.create_eni() for _ in range(12)]
    for eni in enis:
        eni.attach(site.a)
    for eni in enis[:10]:
        eni.create_flow_log(topic=site.topic)

    with pytest.raises(QuotaExceeded, match=r"may have 10;.*raise quotas") as refused:
        enis[10].create_flow_log(topic=site.topic)
    assert refused.value.code == code
    elsewhere = next(region for region in PROFILES[profile].regions if region != PROFILES[profile].default_region)
    site.lab.create_vpc("10.0.0.0/16", region=elsewhere).create_flow_log(topic=site.topic)
    site.lab.quotas["flow_logs"] = 11
    enis[10].create_flow_log(topic=site.topic)
    with pytest.raises(QuotaExceeded, match="may have 11"):
        enis[11].create_flow_log(topic=site.topic)


def test_a_quota_can_be_given_with_the_lab(open_lab: Callable[..., Any]) -> None:
    lab = open_lab(quotas={"flow_logs": 0})
    topic = lab.logs.create_topic("t")

    with pytest.raises(QuotaExceeded):
        lab.create_vpc("10.0.0.0/16").create_flow_log(topic=topic)


def test_tencent_has_one_for_each_resource_and_alibaba_does_not_mind(build: Callable[..., Any]) -> None:
    for profile in ("tencent", "alibaba"):
        site = build(profile)
        for resource in (site.a.eni, site.web, site.vpc):
            log = resource.create_flow_log(topic=site.topic)
            if profile == "tencent":
                with pytest.raises(AlreadyExists, match=log.id) as refused:
                    resource.create_flow_log(topic=site.topic)
                assert refused.value.code == "UnsupportedOperation.FlowLogInstanceExisted"
                log.delete()
            resource.create_flow_log(topic=site.topic)


def test_tencents_names_are_unique_in_a_region_and_alibabas_are_not(build: Callable[..., Any]) -> None:
    tencent = build("tencent")
    tencent.a.eni.create_flow_log("same", topic=tencent.topic)
    with pytest.raises(AlreadyExists, match="choose another") as refused:
        tencent.b.eni.create_flow_log("same", topic=tencent.topic)
    assert refused.value.code == "InvalidParameterValue.Duplicate"
    away = tencent.lab.create_vpc("10.0.0.0/16", region="ap-shanghai")
    away.create_flow_log("same", topic=tencent.topic)

    alibaba = build("alibaba")
    for cvm in (alibaba.a, alibaba.b):
        cvm.eni.create_flow_log("same", topic=alibaba.topic)
    with pytest.raises(InvalidValue, match="use the id"):
        alibaba.lab.find("same")


def test_tencent_refuses_an_eni_that_is_attached_to_nothing(build: Callable[..., Any]) -> None:
    site = build()
    spare = site.web.create_eni("spare")

    with pytest.raises(Unsupported, match=r"spare.*attach it first") as refused:
        spare.create_flow_log(topic=site.topic)
    assert refused.value.code == "UnsupportedOperation.FlowLogsNotSupportNullInstanceEni"
    spare.attach(site.a)
    assert spare.create_flow_log(topic=site.topic).enabled


@pytest.mark.parametrize("what", ["web", "vpc"])
def test_tencent_of_2020_logs_enis_only(build: Callable[..., Any], what: str) -> None:
    site = build("tencent-2020")

    with pytest.raises(Unsupported, match="logs eni only") as refused:
        getattr(site, what).create_flow_log(topic=site.topic)
    assert (refused.value.code, refused.value.object) == ("InvalidParameterValue", getattr(site, what).id)


def test_alibaba_of_2019_has_five_regions_and_ten_minutes(open_lab: Callable[..., Any]) -> None:
    lab = open_lab("alibaba-2019")
    for region in ("cn-huhehaote", "ap-southeast-3", "ap-southeast-5", "eu-west-1", "ap-south-1"):
        assert lab.create_vpc("10.0.0.0/16", region=region).model.region == region

    with pytest.raises(Unsupported, match="no region 'cn-hangzhou'") as refused:
        lab.create_vpc("10.0.0.0/16", region="cn-hangzhou")
    assert refused.value.code == "InvalidRegionId.NotFound"
    with pytest.raises(Unsupported):
        open_lab("alibaba-2019", region="cn-hangzhou")
    vpc = lab.create_vpc("10.1.0.0/16")
    with pytest.raises(InvalidValue, match="600 seconds, which cannot be chosen") as refused:
        vpc.create_flow_log(topic=lab.logs.create_topic("flows"), interval_s=60)
    assert refused.value.code == "INVALID_PARAMETER"


def test_a_record_tells_the_region_of_its_vpc(build: Callable[..., Any], wire: Any) -> None:
    site = build("alibaba")
    vpc = site.lab.create_vpc("10.16.0.0/16", region="eu-west-1")
    vpc.create_subnet("10.16.0.0/24").run_instance("far")
    log = vpc.create_flow_log(topic=site.topic)
    site.log(site.a.eni)

    records = site.records()

    assert log.model.region == "eu-west-1"
    assert {record["vpc-id"]: record["region"] for record in records} == {
        site.vpc.id: "cn-hangzhou",
        vpc.id: "eu-west-1",
    }


def test_a_first_flow_log_turns_on_the_topics_index_and_report(build: Callable[..., Any]) -> None:
    site = build()
    plain, own = site.lab.logs.create_topic("plain"), site.lab.logs.create_topic("own", index={"bytes": "long"})

    site.a.eni.create_flow_log(topic=plain, report=False)
    assert plain.index is None
    site.b.eni.create_flow_log(topic=own)
    assert own.index is not None
    assert list(own.index.fields) == ["bytes"], "an index that is there stays as it is"
    site.c.eni.create_flow_log(topic=plain)
    assert plain.index is not None
    assert plain.report
    assert "dstaddr" in plain.index.fields


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_topic_that_is_missing_or_gone(build: Callable[..., Any], profile: str) -> None:
    site = build(profile)
    gone, elsewhere = site.lab.logs.create_topic("gone"), build(profile).topic
    site.lab.logs.delete_topic(gone)
    code = site.lab.profile.code("topic.missing")

    for topic in (gone, gone.id, "no such topic", elsewhere):
        with pytest.raises(NotFound) as refused:
            site.a.eni.create_flow_log(topic=topic)
        assert refused.value.code == code
    for nothing in (None, "", 7):
        with pytest.raises(RequestRefused, match="topic"):
            site.a.eni.create_flow_log(topic=nothing)
    assert site.lab.describe_flow_logs() == ([], 0)


@pytest.mark.parametrize("profile", ["tencent", "alibaba"])
def test_a_topic_by_its_id(build: Callable[..., Any], profile: str) -> None:
    site = build(profile)

    assert site.a.eni.create_flow_log(topic=site.topic.id).topic is site.topic


def test_what_is_gone_takes_its_flow_logs_with_it(build: Callable[..., Any]) -> None:
    site = build()
    spare = site.web.create_eni("spare")
    spare.attach(site.a)
    empty = site.vpc.create_subnet("10.16.9.0/24")
    site.log(site.a.eni, spare, empty)
    site.a.terminate()
    empty.delete()
    spare.delete()

    assert site.lab.describe_flow_logs() == ([], 0)
    site.lab.clock.advance(minutes=30)


def test_an_old_instance_family_is_left_out_of_what_covers_its_subnet(build: Callable[..., Any], wire: Any) -> None:
    site = build()
    old = site.web.run_instance("old", instance_type="S2.SMALL1")

    with pytest.raises(Unsupported, match="family S2") as refused:
        old.eni.create_flow_log(topic=site.topic)
    site.log(site.web)
    wire.send(old, site.a.ip, 47, b"x")

    assert refused.value.code == "UnsupportedOperation.FlowLogsNotSupportKoInstanceEni"
    records = site.records()
    assert {record.meta["eni_id"] for record in records} == {site.a.eni.id, site.b.eni.id}
