"""Tencent Cloud: VPC and CVM API 2017-03-12, CLS API 2020-10-16.

Sources are in ``reference/tencent.md``; where its documents part, the reading taken here:

- VPC blocks: the API page says 10.0.0.0/12, the samples use 10.16.0.0/16. Taken: within 10.0.0.0/8, mask /12 to /28.
- Flow logs on subnets and VPCs: today's CreateFlowLog page leaves them out, the international SDK, Terraform and
  DescribeFlowLogs have them. ``tencent`` offers them, ``tencent-2020`` only ENIs, as the console then.
- Windows: about 5 minutes today, 10 minutes in the quick start of 2018 to 2020.
- Members of one group: the VPC documents say that they do not talk without a rule, an old CVM FAQ that they do.
  Taken: they do not.
- Rules over all groups of an ENI: no number is published. Taken: as many as a VPC has rule numbers.
- Flow logs per region: no number is published. Taken: 10, as at Alibaba.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from emulator.cloud.numbers import MOST
from emulator.cloud.profile import Profile
from emulator.cloud.unrecorded import Unrecorded

_REGIONS = (
    "ap-guangzhou", "ap-shanghai", "ap-beijing", "ap-nanjing", "ap-chengdu", "ap-chongqing", "ap-hongkong",
    "ap-singapore", "ap-bangkok", "ap-jakarta", "ap-mumbai", "ap-seoul", "ap-tokyo", "na-siliconvalley", "na-ashburn",
    "na-toronto", "sa-saopaulo", "eu-frankfurt", "eu-moscow",
)  # fmt: skip
"""Where CLS is; a flow log cannot deliver anywhere else."""

_REFUSED_FAMILIES = frozenset(
    {"S3", "SA1", "S2", "S1", "M3", "M2", "M1", "C4", "CN3", "C3", "C2", "BC1", "BS1", "HCCIC5", "HCCG5v"}
)
"""Creating a flow log on these was refused from 2022-04-26, their data stopped on 2022-07-25."""

_UNRECORDED = (
    Unrecorded(protocol=17, ports=(67, 68)),
    Unrecorded(protocol=6, ports=(1688, None), network=IPv4Network("169.254.0.0/16")),
)
"""DHCP and the activation of Windows: the whole documented list (tencent.md §1.5). Where the activation's servers are
no source says; taken: among the other services of the provider."""

_CODES = {
    "region.unknown": "UnsupportedRegion",
    "object.missing": "ResourceNotFound",
    "name.ambiguous": "InvalidParameterValue",
    "name.length": "InvalidParameterValue.TooLong",
    "name.characters": "InvalidParameterValue.Malformed",
    "page.range": "InvalidParameterValue.Range",
    "cidr.malformed": "InvalidParameterValue.Malformed",
    "cidr.host_bits": "InvalidParameterValue.Malformed",
    "cidr.ipv6": "UnsupportedOperation",
    "vpc.missing": "InvalidVpcId.NotFound",
    "vpc.prefix": "InvalidParameterValue.Range",
    "vpc.range": "InvalidParameterValue.Range",
    "vpc.quota": "LimitExceeded",
    "vpc.in_use": "ResourceInUse",
    "subnet.missing": "ResourceNotFound",
    "subnet.prefix": "InvalidParameterValue.Range",
    "subnet.range": "InvalidParameterValue.SubnetRange",
    "subnet.overlap": "InvalidParameterValue.SubnetConflict",
    "subnet.quota": "LimitExceeded",
    "subnet.in_use": "ResourceInUse",
    "subnet.full": "ResourceInsufficient",
    "address.malformed": "InvalidParameterValue.Malformed",
    "address.outside": "InvalidParameterValue.Range",
    "address.reserved": "InvalidParameterValue.Reserved",
    "address.taken": "ResourceInUse.Address",
    "cvm.missing": "InvalidInstanceId.NotFound",
    "cvm.count": "InvalidParameterValue",
    "cvm.instance_type": "InvalidParameterValue",
    "eni.missing": "InvalidNetworkInterfaceId.NotFound",
    "eni.quota": "LimitExceeded",
    "eni.attached": "UnsupportedOperation.AttachmentAlreadyExists",
    "eni.detached": "UnsupportedOperation.AttachmentNotFound",
    "eni.primary": "UnsupportedOperation.InvalidState",
    "eni.in_use": "UnsupportedOperation.InvalidState",
    "eni.vpc": "UnsupportedOperation.VpcMismatch",
    "group.missing": "InvalidSecurityGroupID.NotFound",
    "group.quota": "LimitExceeded",
    "group.default": "ResourceInUse",
    "group.in_use": "ResourceInUse",
    "group.none": "InvalidParameterValue.Empty",
    "group.vpc": "UnsupportedOperation.VpcMismatch",
    "group.repeated": "InvalidParameterValue.DuplicatePara",
    "group.bindings": "InvalidParameterValue.LimitExceeded",
    "group.type": "UnsupportedOperation",
    "group.inner_access": "UnsupportedOperation",
    "group.mixed": "InvalidParameterValue",
    "group.eni_rules": "LimitExceeded",
    "group.rule_quota": "LimitExceeded.SecurityGroupPolicySet",
    "acl.missing": "ResourceNotFound",
    "acl.quota": "LimitExceeded",
    "acl.rule_quota": "LimitExceeded",
    "acl.in_use": "ResourceInUse",
    "acl.type": "InvalidParameterValue",
    "acl.vpc": "UnsupportedOperation.VpcMismatch",
    "acl.association": "UnsupportedOperation.AttachmentNotFound",
    "rule.missing": "ResourceNotFound",
    "rule.direction": "InvalidParameterValue",
    "rule.action": "InvalidParameterValue",
    "rule.protocol": "InvalidParameterValue",
    "rule.port": "InvalidParameterValue.Malformed",
    "rule.peer": "InvalidParameterValue.Malformed",
    "rule.peer_group": "InvalidParameterValue",
    "rule.enterprise": "UnsupportedOperation",
    "rule.family": "InvalidParameterValue",
    "rule.quintuple": "UnsupportedOperation",
    "rule.priority": "InvalidParameterValue.Range",
    "rule.duplicate": "UnsupportedOperation.DuplicatePolicy",
    "rule.numbers": "LimitExceeded",
    "rule.template": "UnsupportedOperation",
    "template.missing": "ResourceNotFound",
    "template.unsupported": "UnsupportedOperation",
    "template.quota": "LimitExceeded",
    "template.entries": "LimitExceeded",
    "template.entry": "InvalidParameterValue.Malformed",
    "template.entry_missing": "InvalidParameterValue",
    "template.duplicate": "InvalidParameterValue.Duplicate",
    "template.empty": "InvalidParameterValue.Empty",
    "template.member": "InvalidParameterValue",
    "template.in_use": "ResourceInUse",
    "template.expansion": "LimitExceeded",
    "flow_log.missing": "ResourceNotFound",
    "flow_log.resource": "ResourceNotFound",
    "flow_log.resource_type": "InvalidParameterValue",
    "flow_log.vpc": "InvalidParameterValue",
    "flow_log.exists": "UnsupportedOperation.FlowLogInstanceExisted",
    "flow_log.idle_eni": "UnsupportedOperation.FlowLogsNotSupportNullInstanceEni",
    "flow_log.family": "UnsupportedOperation.FlowLogsNotSupportKoInstanceEni",
    "flow_log.traffic": "InvalidParameterValue",
    "flow_log.interval": "InvalidParameterValue.Range",
    "flow_log.name": "InvalidParameterValue.Malformed",
    "flow_log.name_length": "InvalidParameterValue.Range",
    "flow_log.name_taken": "InvalidParameterValue.Duplicate",
    "flow_log.description": "InvalidParameterValue.Range",
    "flow_log.quota": "LimitExceeded",
    "flow_log.topic": "InvalidParameterValue.Empty",
    "tag.count": "LimitExceeded.TagKeyPerResourceExceeded",
    "tag.key": "InvalidParameterValue.TagInvalidKey",
    "tag.key_length": "InvalidParameterValue.TagInvalidKeyLen",
    "tag.value": "InvalidParameterValue.TagInvalidVal",
    "logset.missing": "ResourceNotFound.LogsetNotExist",
    "logset.in_use": "FailedOperation.LogsetNotEmpty",
    "logset.duplicate": "InvalidParameter.LogsetConflict",
    "logset.name": "InvalidParameter",
    "topic.missing": "ResourceNotFound.TopicNotExist",
    "topic.duplicate": "InvalidParameter.TopicConflict",
    "topic.days": "FailedOperation.InvalidPeriod",
    "topic.name": "InvalidParameter",
    "index.missing": "ResourceNotFound.IndexNotExist",
    "index.keys": "LimitExceeded.IndexKeyOverLimit",
    "index.duplicate": "InvalidParameter.IndexConflict",
    "packet.addresses": "InvalidParameterValue",
    "record.missing": "ResourceNotFound",
    "query": "FailedOperation.SyntaxError",
    "query.unsupported": "FailedOperation.QueryError",
    "limit.range": "InvalidParameter",
    "time.range": "InvalidParameter",
    "write.key": "InvalidContent",
    "write.value": "InvalidContent",
    "write.time": "InvalidContent",
    "write.rows": "LogSizeExceed",
}
"""Our reasons → codes of the Go SDK's ``errors.go`` for vpc and cls (``write.*``: the upload path's own table)."""

TENCENT = Profile(
    name="tencent",
    provider="tencent",
    regions=_REGIONS,
    default_region="ap-guangzhou",
    account_id="1251762227",
    windows_s=(300,),
    window_s=300,
    delay_s=300,
    resource_types=frozenset({"eni", "subnet", "vpc"}),
    record_form="tencent",
    language="lucene",
    reserved_first=2,
    reserved_last=1,
    gateway_index=1,
    pooled_groups=False,
    egress_default="deny",
    members_inside=False,
    group_types=("normal",),
    one_per_resource=True,
    shortest_wins=False,
    codes=_CODES,
    traffic_words={"ALL": "ALL", "ACCEPT": "ACCEPT", "REJECT": "REJECT", "ALLOW": "ACCEPT", "DROP": "REJECT"},
    quotas={
        "flow_logs": 10,
        "vpcs": 20,
        "subnets": 100,
        "enis": 1000,
        "groups": 50,
        "acls": 50,
        "group_rules": 100,
        "acl_rules": 20,
        "groups_per_eni": 5,
        "eni_rules": MOST,
        "templates": 1000,
        "template_entries": 20,
        "expanded_rules": 2000,
    },
    id_prefixes={
        "vpc": "vpc-",
        "subnet": "subnet-",
        "cvm": "ins-",
        "eni": "eni-",
        "group": "sg-",
        "acl": "acl-",
        "group_rule": "sgr-",
        "acl_rule": "acli43-",
        "flow_log": "fl-",
        "prefix_list": "pl-",
        "address_template": "ipm-",
        "address_group": "ipmg-",
        "service_template": "ppm-",
        "service_group": "ppmg-",
    },
    id_length=8,
    default_instance_type="S5.MEDIUM2",
    template_kinds=frozenset({"address_template", "address_group", "service_template", "service_group"}),
    refused_families=_REFUSED_FAMILIES,
    vpc_networks=("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    vpc_prefix=(12, 28),
    subnet_prefix=(16, 28),
    default_group_open=True,
    acl_types=("triple", "quintuple"),
    unrecorded=_UNRECORDED,
    duplicate_rules_refused=True,
    idle_eni_refused=True,
    logsets_deleted_empty=True,
    unique_flow_log_names=True,
    tag_key_prefixes_refused=("qcs:",),
    mac_prefix="20:90:6f",
)

TENCENT_2020 = replace(
    TENCENT,
    name="tencent-2020",
    windows_s=(600,),
    window_s=600,
    resource_types=frozenset({"eni"}),
    refused_families=frozenset(),
)
"""The product as the documents of 2018 to 2020 describe it: ENIs only, 10-minute windows, all families."""
