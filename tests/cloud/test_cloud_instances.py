"""CVMs and ENIs: their life, devices, groups and names."""

from __future__ import annotations

import pytest

from emulator.errors import InUse, InvalidValue, NotFound, QuotaExceeded


def test_a_cvm_has_a_primary_eni(tencent):
    eni = tencent.eni
    assert (eni.device, eni.primary, eni.cvm_id) == (0, True, tencent.cvm.id)
    assert eni.groups == (tencent.vpc.default_group_id,)
    assert eni.name == "A-eth0"
    assert tencent.cvm.instance_type == "S5.MEDIUM2"


def test_attach_takes_the_lowest_free_device(tencent):
    cloud = tencent.cloud
    first, second, third = (cloud.create_eni(tencent.subnet.id).id for _ in range(3))
    assert [cloud.attach_eni(eni, tencent.cvm.id).device for eni in (first, second)] == [1, 2]
    assert cloud.detach_eni(first).device is None
    assert cloud.attach_eni(third, tencent.cvm.id).device == 1


@pytest.mark.parametrize(
    ("act", "error", "reason", "code"),
    [
        pytest.param(
            lambda cloud, eni, cvm: cloud.attach_eni(eni.id, cvm.id),
            InUse, "eni.attached", "UnsupportedOperation.AttachmentAlreadyExists", id="attach-attached",
        ),
        pytest.param(
            lambda cloud, eni, cvm: cloud.detach_eni(eni.id),
            InvalidValue, "eni.primary", "UnsupportedOperation.InvalidState", id="detach-primary",
        ),
        pytest.param(
            lambda cloud, eni, cvm: cloud.delete_eni(eni.id),
            InUse, "eni.in_use", "UnsupportedOperation.InvalidState", id="delete-attached",
        ),
        pytest.param(
            lambda cloud, eni, cvm: cloud.detach_eni(cloud.create_eni(eni.subnet_id).id),
            InvalidValue, "eni.detached", "UnsupportedOperation.AttachmentNotFound", id="detach-detached",
        ),
        pytest.param(
            lambda cloud, eni, cvm: cloud.attach_eni("eni-00000000", cvm.id),
            NotFound, "eni.missing", "InvalidNetworkInterfaceId.NotFound", id="attach-nothing",
        ),
        pytest.param(
            lambda cloud, eni, cvm: cloud.attach_eni(cloud.create_eni(eni.subnet_id).id, "ins-00000000"),
            NotFound, "cvm.missing", "InvalidInstanceId.NotFound", id="attach-to-nothing",
        ),
    ],
)  # fmt: skip
def test_refused(tencent, act, error, reason, code):
    with pytest.raises(error) as refused:
        act(tencent.cloud, tencent.eni, tencent.cvm)
    assert (refused.value.reason, refused.value.code) == (reason, code)
    assert tencent.cloud.enis[tencent.eni.id] == tencent.eni


def test_an_eni_stays_in_its_vpc(tencent):
    cloud = tencent.cloud
    foreign = cloud.create_subnet(cloud.create_vpc("10.16.0.0/16").id, "10.16.0.0/24")
    eni = cloud.create_eni(foreign.id)
    with pytest.raises(InvalidValue) as refused:
        cloud.attach_eni(eni.id, tencent.cvm.id)
    assert refused.value.code == "UnsupportedOperation.VpcMismatch"
    with pytest.raises(InvalidValue) as refused:
        cloud.set_groups(eni.id, [tencent.vpc.default_group_id])
    assert refused.value.reason == "group.vpc"


def test_deleting_a_cvm_keeps_its_other_enis(tencent):
    cloud = tencent.cloud
    other = cloud.attach_eni(cloud.create_eni(tencent.subnet.id).id, tencent.cvm.id)
    cloud.create_flow_log(tencent.eni.id, topic_id="t", now_s=0)
    kept = cloud.create_flow_log(other.id, topic_id="t", now_s=0)
    cloud.delete_cvm(tencent.cvm.id)
    assert list(cloud.enis) == [other.id]
    assert cloud.enis[other.id].cvm_id is None
    assert list(cloud.flow_logs) == [kept.id]
    assert cloud.flow_logs_covering(other.id) == ()
    cloud.delete_eni(other.id)
    assert not cloud.flow_logs


def test_groups_of_an_eni(tencent):
    cloud = tencent.cloud
    groups = [cloud.create_group(tencent.vpc.id).id for _ in range(6)]
    assert cloud.set_groups(tencent.eni.id, groups[:2]).groups == tuple(groups[:2])
    assert cloud.group_members(groups[0]) == (tencent.eni.address,)
    for wrong, reason in (([], "group.none"), (groups[:1] * 2, "group.repeated")):
        with pytest.raises(InvalidValue) as refused:
            cloud.set_groups(tencent.eni.id, wrong)
        assert refused.value.reason == reason
    with pytest.raises(QuotaExceeded):
        cloud.set_groups(tencent.eni.id, groups)
    with pytest.raises(NotFound, match="no security group has the id 'sg-nope'"):
        cloud.create_cvm(tencent.subnet.id, groups=["sg-nope"])
    assert len(cloud.cvms) == 1


def test_a_group_in_use_stays(tencent):
    cloud = tencent.cloud
    bound, named = cloud.create_group(tencent.vpc.id), cloud.create_group(tencent.vpc.id)
    cloud.set_groups(tencent.eni.id, [bound.id])
    cloud.add_rule(bound.id, "ingress", "allow", cidr=named.id)
    cloud.add_rule(bound.id, "ingress", "allow", cidr=bound.id)
    for group_id in (bound.id, named.id, tencent.vpc.default_group_id):
        with pytest.raises(InUse):
            cloud.delete_group(group_id)
    cloud.set_groups(tencent.eni.id, [tencent.vpc.default_group_id])
    cloud.delete_group(bound.id)
    cloud.delete_group(named.id)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("", "name.length", id="empty"),
        pytest.param("x" * 61, "name.length", id="too-long"),
        pytest.param("a\nb", "name.characters", id="newline"),
        pytest.param("a\ud800", "name.characters", id="surrogate"),
        pytest.param(7, "name.characters", id="no-string"),
    ],
)
def test_names_refused(tencent, name, reason):
    cloud = tencent.cloud
    for create in (
        lambda: cloud.create_vpc("10.0.0.0/16", name=name),
        lambda: cloud.create_subnet(tencent.vpc.id, "10.16.1.0/24", name=name),
        lambda: cloud.create_cvm(tencent.subnet.id, name=name),
        lambda: cloud.create_eni(tencent.subnet.id, name=name),
        lambda: cloud.create_group(tencent.vpc.id, name=name),
        lambda: cloud.create_acl(tencent.vpc.id, name=name),
    ):
        with pytest.raises(InvalidValue) as refused:
            create()
        assert refused.value.reason == reason


def test_any_instance_type_but_an_empty_one(tencent):
    cvm, _ = tencent.cloud.create_cvm(tencent.subnet.id, instance_type="X9.HUGE")
    assert cvm.instance_type == "X9.HUGE"
    with pytest.raises(InvalidValue, match="give one like"):
        tencent.cloud.create_cvm(tencent.subnet.id, instance_type="")
