"""Alibaba Cloud: VPC API 2016-04-28, ECS API 2014-05-26, SLS REST.

Sources are in ``reference/alibaba.md``; where its documents part, the reading taken here:

- Quota of flow logs: 10 per region in the seed, 10 per account today. Taken: per region.
- Names of flow logs: 1 to 128 characters today; 2 to 128 letters, digits, ``-`` and ``_`` in the seed. Taken: the
  seed's. Its letters are English ones and Chinese characters.
- May two flow logs share a name? No document forbids it and no code exists for it. Taken: they may.
- Old instance families: "cannot be captured". Taken: a flow log on such an ENI is refused; one on its subnet or VPC is
  created and leaves it out.
- Rules of security groups: 200 of one group in older documents, 1,000 over all groups of an ENI today, both directions.
  Taken: both, the 200 for each direction.
- IPv6 blocks of VPCs, which the provider chooses, may be given here; a vSwitch's is a number from 0 to 255, or a
  block.
- IPv6 addresses of an ENI: they depend on the instance type. Taken: 10.
- Prefix lists: 100 of them with 200 entries each, and no codes in the documents that were read.
- Port lists: MaxEntries, 1 to 2,000, cannot be left out, and is what a rule with the list counts for. Taken: who leaves
  it out has a list that counts for its entries. How many lists an account may have is in the Quota Center only: 100,
  as prefix lists. A rule that names a list of each kind counts for their product (inference).
- Codes that no document names (unknown flow log, quota, ...) are built by the rule of the VPC API's families
  ``ResourceNotFound.<X>``, ``IllegalParam.<X>``, ``QuotaExceeded.<X>``, ``OperationDenied.<Why>``.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from emulator.cloud.prices import Price
from emulator.cloud.profile import Profile
from emulator.cloud.services import Services
from emulator.cloud.unrecorded import Unrecorded
from emulator.providers.shipping import OSS

_REGIONS = (
    "cn-hangzhou", "cn-shanghai", "cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-wulanchabu",
    "cn-shenzhen", "cn-heyuan", "cn-guangzhou", "cn-chengdu", "cn-fuzhou", "cn-hongkong", "ap-northeast-1",
    "ap-northeast-2", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
    "us-west-1", "us-east-1", "eu-central-1", "eu-west-1", "me-east-1", "me-central-1",
)  # fmt: skip

_REGIONS_2019 = ("cn-huhehaote", "ap-southeast-3", "ap-southeast-5", "eu-west-1", "ap-south-1")
"""Hohhot, Kuala Lumpur, Jakarta, London, Mumbai: the beta's."""

_REFUSED_FAMILIES = frozenset(
    {
        "c1", "c2", "c4", "c5", "ce4", "cm4", "d1", "e3", "e4", "ga1", "gn4", "gn5", "i1", "m1", "m2", "mn4", "n1",
        "n2", "n4", "s1", "s2", "s3", "se1", "sn1", "sn2", "t1", "xn4",
    }
)  # fmt: skip

_REFUSED_NETWORKS = ("100.64.0.0/10", "224.0.0.0/4", "127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "240.0.0.0/4")
"""The first four are the provider's; 0.0.0.0/8 and 240.0.0.0/4 hold no addresses that Linux would give an interface."""

_SERVICES = ("100.100.2.128/28", "100.100.2.112/28", "100.100.100.200/32")
"""DNS, DNS, metadata: an ACL's first rules, both ways, which nobody can remove."""

_UNRECORDED = (Unrecorded(network=IPv4Network("224.0.0.0/4")), Unrecorded(network=IPv6Network("ff00::/8")))
"""Multicast; of DNS, metadata and DHCP no document says that they are left out, and a sample has a DNS query
(alibaba.md §1.5)."""

_ANSWERING = Services(
    metadata=IPv4Address("100.100.100.200"),
    dns=(IPv4Address("100.100.2.136"), IPv4Address("100.100.2.138")),
    ntp=(IPv4Address("100.100.61.88"),),
    names={
        "metadata.aliyuncs.com": IPv4Address("100.100.100.200"),
        "ntp.cloud.aliyuncs.com": IPv4Address("100.100.61.88"),
    },
    facts={
        "instance-id": "cvm_id",
        "hostname": "name",
        "instance/instance-name": "name",
        "instance/instance-type": "instance_type",
        "private-ipv4": "address",
        "eipv4": "public_address",
        "mac": "mac",
        "owner-account-id": "account_id",
        "region-id": "region",
        "vpc-id": "vpc_id",
        "vpc-cidr-block": "vpc_cidr",
        "vswitch-id": "subnet_id",
        "vswitch-cidr-block": "subnet_cidr",
        "dns-conf/nameservers": "dns",
    },
    eni_facts={
        "network/interfaces/macs/{mac}/network-interface-id": "eni_id",
        "network/interfaces/macs/{mac}/primary-ip-address": "address",
        "network/interfaces/macs/{mac}/netmask": "netmask",
        "network/interfaces/macs/{mac}/gateway": "gateway",
        "network/interfaces/macs/{mac}/vpc-id": "vpc_id",
        "network/interfaces/macs/{mac}/vpc-cidr-block": "vpc_cidr",
        "network/interfaces/macs/{mac}/vswitch-id": "subnet_id",
        "network/interfaces/macs/{mac}/vswitch-cidr-block": "subnet_cidr",
    },
)

_CODES = {
    "region.unknown": "InvalidRegionId.NotFound",
    "object.missing": "ResourceNotFound",
    "name.ambiguous": "InvalidParameter",
    "name.length": "InvalidName.Malformed",
    "name.characters": "InvalidName.Malformed",
    "page.range": "InvalidParameter",
    "cidr.malformed": "InvalidCidrBlock.Malformed",
    "cidr.host_bits": "InvalidCidrBlock.Malformed",
    "cidr.ipv6": "InvalidCidrBlock.Malformed",
    "cidr.ipv6_malformed": "InvalidIpv6CidrBlock.Malformed",
    "vpc.missing": "InvalidVpcId.NotFound",
    "vpc.prefix": "InvalidCidrBlock.Malformed",
    "vpc.range": "InvalidCidrBlock.Malformed",
    "vpc.ipv6_range": "InvalidIpv6CidrBlock.Malformed",
    "vpc.ipv6_taken": "InvalidIpv6CidrBlock.Overlapped",
    "vpc.ipv6_missing": "OperationDenied.Ipv6Disabled",
    "vpc.quota": "QuotaExceeded.Vpc",
    "vpc.in_use": "DependencyViolation",
    "subnet.missing": "InvalidVSwitchId.NotFound",
    "subnet.prefix": "InvalidCidrBlock.Malformed",
    "subnet.range": "InvalidCidrBlock.NotInVpc",
    "subnet.overlap": "InvalidCidrBlock.Overlapped",
    "subnet.ipv6_range": "InvalidIpv6CidrBlock.Malformed",
    "subnet.ipv6_missing": "OperationDenied.Ipv6Disabled",
    "ipv6.present": "OperationDenied.Ipv6Enabled",
    "subnet.quota": "QuotaExceeded.VSwitch",
    "subnet.in_use": "DependencyViolation",
    "subnet.broadcast": "OperationUnsupported.Broadcast",
    "subnet.full": "InvalidVSwitchId.IpNotEnough",
    "address.malformed": "InvalidPrivateIpAddress.Malformed",
    "address.outside": "InvalidPrivateIpAddress.Malformed",
    "address.reserved": "InvalidPrivateIpAddress.Malformed",
    "address.taken": "InvalidPrivateIpAddress.Duplicated",
    "address.count": "InvalidParameter",
    "cvm.missing": "InvalidInstanceId.NotFound",
    "cvm.count": "InvalidParameter",
    "cvm.instance_type": "InvalidInstanceType.ValueNotSupported",
    "eni.missing": "InvalidEniId.NotFound",
    "eni.quota": "QuotaExceeded.Eni",
    "eni.ipv6_quota": "QuotaExceeded.Ipv6Address",
    "eni.attached": "InvalidOperation.InvalidEniState",
    "eni.detached": "InvalidOperation.InvalidEniState",
    "eni.primary": "InvalidOperation.DetachPrimaryEniNotAllowed",
    "eni.in_use": "InvalidOperation.InvalidEniState",
    "eni.vpc": "InvalidParams.VpcId",
    "group.missing": "InvalidSecurityGroupId.NotFound",
    "group.quota": "QuotaExceed.SecurityGroup",
    "group.default": "DependencyViolation",
    "group.in_use": "DependencyViolation",
    "group.none": "MissingParameter.SecurityGroupId",
    "group.vpc": "InvalidSecurityGroupId.VPCMismatch",
    "group.repeated": "InvalidSecurityGroupId.Malformed",
    "group.bindings": "InvalidSecurityGroup.OverLimit",
    "group.type": "InvalidSecurityGroupType.ValueNotSupported",
    "group.inner_access": "InvalidInnerAccessPolicy.Malformed",
    "group.mixed": "InvalidSecurityGroupId.TypeMismatch",
    "group.eni_rules": "AuthorizationLimitExceed",
    "group.rule_quota": "AuthorizationLimitExceed",
    "acl.missing": "ResourceNotFound.NetworkAcl",
    "acl.quota": "QuotaExceeded.NetworkAcl",
    "acl.rule_quota": "QuotaExceeded.NetworkAclEntry",
    "acl.in_use": "DependencyViolation.NetworkAcl",
    "acl.type": "IllegalParam.NetworkAclType",
    "acl.vpc": "OperationDenied.VpcMismatch",
    "acl.association": "IncorrectStatus.NetworkAcl",
    "rule.missing": "InvalidSecurityGroupRuleId.NotFound",
    "rule.direction": "InvalidDirection.Malformed",
    "rule.action": "InvalidPolicy.Malformed",
    "rule.protocol": "InvalidIpProtocol.ValueNotSupported",
    "rule.port": "InvalidPortRange.Malformed",
    "rule.peer": "InvalidSourceCidrIp.Malformed",
    "rule.peer_group": "InvalidSourceGroupId.Mismatch",
    "rule.enterprise": "InvalidOperation.EnterpriseSecurityGroup",
    "rule.family": "InvalidIpProtocol.ValueNotSupported",
    "rule.quintuple": "OperationUnsupported.QuintupleRule",
    "rule.priority": "InvalidPriority.Malformed",
    "rule.duplicate": "InvalidPermission.Duplicate",
    "rule.numbers": "AuthorizationLimitExceed",
    "rule.template": "OperationUnsupported.PrefixList",
    "rule.port_list": "InvalidParam.ProtocolNotSupportPortRangeList",
    "template.missing": "InvalidPrefixListId.NotFound",
    "template.unsupported": "InvalidOperation.NotSupported",
    "template.quota": "QuotaExceed.PrefixList",
    "template.entries": "InvalidParameter.EntryLimitExceed",
    "template.entry": "InvalidCidr.Malformed",
    "template.entry_missing": "InvalidParameter.EntryNotExist",
    "template.family": "InvalidParameter.AddressFamily",
    "template.duplicate": "InvalidParameter.EntryDuplicate",
    "template.empty": "MissingParameter.Entry",
    "template.member": "InvalidParameter.Entry",
    "template.in_use": "DependencyViolation",
    "template.expansion": "AuthorizationLimitExceed",
    "template.max_entries": "InvalidOperation.MaxEntriesCountExceed",
    "port_list.missing": "InvalidPortRangeListId.NotFound",
    "port_list.quota": "InvalidOperation.MaxCountExceed",
    "port_list.entries": "LimitExceed.MaxEntries",
    "port_list.entry": "InvalidParameter.PortRange",
    "port_list.duplicate": "InvalidParameter.PortRangeDuplicated",
    "port_list.in_use": "InvalidPortRangeListId.AssociationExist",
    "flow_log.missing": "ResourceNotFound.FlowLog",
    "flow_log.resource": "ResourceNotFound.ResourceId",
    "flow_log.resource_type": "IllegalParam.ResourceType",
    "flow_log.vpc": "IllegalParam.VpcId",
    "flow_log.region": "IllegalParam.RegionId",
    "flow_log.switch": "IncorrectStatus.TrFlowlog",
    "flow_log.exists": "OperationDenied.FlowLogExists",
    "flow_log.idle_eni": "OperationDenied.EniNotAttached",
    "flow_log.family": "OperationDenied.InstanceTypeNotSupported",
    "flow_log.traffic": "IllegalParam.TrafficType",
    "flow_log.interval": "IllegalParam.AggregationInterval",
    "flow_log.name": "IllegalParam.FlowLogName",
    "flow_log.name_length": "IllegalParam.FlowLogName",
    "flow_log.name_taken": "OperationDenied.FlowLogNameExists",
    "flow_log.description": "IllegalParam.Description",
    "flow_log.quota": "QuotaExceeded.FlowLog",
    "fault": "InvalidParameter",
    "flow_log.topic": "MissingParam.LogStoreName",
    "tag.count": "QuotaExceeded.Tag",
    "tag.key": "IllegalParam.TagKey",
    "tag.key_length": "IllegalParam.TagKey",
    "tag.value": "IllegalParam.TagValue",
    "address.quota": "InvalidPrivateIpAddress.OverLimit",
    "address.primary": "InvalidPrivateIpAddress.Primary",
    "address.unassigned": "InvalidPrivateIpAddress.NotFound",
    "address.in_use": "InvalidOperation.AssociatedEip",
    "route_table.missing": "InvalidRouteTableId.NotFound",
    "route_table.quota": "QuotaExceeded.RouteTable",
    "route_table.vpc": "OperationDenied.VpcMismatch",
    "route_table.association": "IncorrectRouteTableStatus",
    "route_table.in_use": "DependencyViolation.RouteTable",
    "route.local": "InvalidCIDRBlock.Conflict",
    "route.exists": "RouterEntryConflict.Duplicated",
    "route.peer": "InvalidCIDRBlock.Conflict",
    "route.quota": "QuotaExceeded.RouteEntry",
    "route.missing": "InvalidRouteEntry.NotFound",
    "route.learned": "OperationDenied.SystemRoute",
    "route.target": "InvalidNextHop.NotFound",
    "eip.missing": "InvalidAllocationId.NotFound",
    "eip.quota": "QuotaExceeded.Eip",
    "eip.bound": "IncorrectEipStatus",
    "eip.unbound": "IncorrectEipStatus",
    "eip.in_use": "DependencyViolation.EipInUse",
    "eip.release": "IncorrectEipStatus",
    "eip.target": "InvalidInstanceId.NotFound",
    "eip.private": "InvalidPrivateIpAddress.NotFound",
    "eip.private_bound": "InvalidAssociation.Duplicated",
    "eip.region": "InvalidParams.Region",
    "internet_gateway.missing": "ResourceNotFound.Ipv4Gateway",
    "internet_gateway.unsupported": "OperationUnsupported.Ipv4Gateway",
    "internet_gateway.exists": "OperationDenied.Ipv4GatewayExists",
    "internet_gateway.in_use": "DependencyViolation.RouteEntry",
    "nat.missing": "InvalidNatGatewayId.NotFound",
    "nat.quota": "QuotaExceeded.NatGateway",
    "nat.eip_quota": "QuotaExceeded.NatGatewayEip",
    "nat.in_use": "DependencyViolation.NatGateway",
    "nat.entry_exists": "OperationConflict.SnatEntry",
    "nat.entry_quota": "QuotaExceeded.SnatEntry",
    "nat.entry_missing": "InvalidSnatEntryId.NotFound",
    "nat.no_eip": "InvalidSnatIp.Malformed",
    "nat.eip": "InvalidExternalIp.NotFound",
    "nat.protocol": "InvalidIpProtocol.ValueNotSupported",
    "nat.port": "InvalidExternalPort.Malformed",
    "nat.private": "InvalidInternalIp.Malformed",
    "nat.source": "InvalidSourceCIDR.Malformed",
    "nat.forward_exists": "Forbidden.DuplicateForwardEntry",
    "nat.forward_quota": "QuotaExceeded.ForwardEntry",
    "peering.missing": "ResourceNotFound.InstanceId",
    "peering.itself": "IllegalParam.AcceptingVpcId",
    "peering.exists": "OperationDenied.PeeringExists",
    "peering.overlap": "IllegalParam.CidrOverlap",
    "peering.quota": "QuotaExceeded.VpcPeer",
    "peering.in_use": "DependencyViolation.RouteEntry",
    "bandwidth.range": "IllegalParam.Bandwidth",
    "ccn.missing": "ParameterCenInstanceId",
    "ccn.quota": "QuotaExceeded.CenCount",
    "ccn.vpc_quota": "QuotaExceeded.TransitRouterVpcAttachment",
    "ccn.attached": "InvalidOperation.InstanceAlreadyAttached",
    "ccn.not_attached": "ParameterInstanceId",
    "ccn.in_use": "InvalidOperation.CenInstanceStatus",
    "ccn.flow_log": "DependencyViolation.FlowLog",
    "ccn.regions": "ParameterRegionId",
    "host.missing": "ResourceNotFound",
    "host.address": "InvalidParameter",
    "host.quota": "ResourceNotAvailable",
    "logset.missing": "ProjectNotExist",
    "logset.in_use": "ParameterInvalid",
    "logset.duplicate": "ProjectAlreadyExist",
    "logset.name": "ParameterInvalid",
    "topic.missing": "LogStoreNotExist",
    "topic.duplicate": "LogStoreAlreadyExist",
    "topic.days": "LogStoreInfoInvalid",
    "topic.name": "LogStoreInfoInvalid",
    "index.missing": "IndexConfigNotExist",
    "index.keys": "IndexInfoInvalid",
    "index.quota": "IndexInfoInvalid",
    "index.duplicate": "IndexAlreadyExist",
    "packet.addresses": "InvalidParameter",
    "record.missing": "ResourceNotFound.Record",
    "query": "InvalidQueryString",
    "query.unsupported": "ParameterInvalid",
    # Not 503: the SDK would try a query again that can only fail again.
    "query.timeout": "ParameterInvalid",
    "query.memory": "ParameterInvalid",
    "query.size": "ParameterInvalid",
    "limit.range": "ParameterInvalid",
    "time.range": "InvalidTimeRange",
    "write.key": "InvalidKey",
    "write.value": "PostBodyInvalid",
    "write.time": "InvalidTimestamp",
    "delivery.setting": "ParameterInvalid",
    "delivery.name": "ParameterInvalid",
    "delivery.duplicate": "JobAlreadyExist",
    "delivery.missing": "NoSuchBucket",
    "delivery.denied": "AccessDenied",
    "delivery.internal": "InternalServerError",
    "delivery.gone": "JobNotExist",
    "delivery.kind": "ParameterInvalid",
    "write.rows": "PostBodyTooLarge",
    "write.failed": "InternalServerError",
}

_CODES_2019 = (
    _CODES
    | dict.fromkeys(
        (
            "flow_log.resource_type",
            "flow_log.vpc",
            "flow_log.traffic",
            "flow_log.interval",
            "flow_log.name",
            "flow_log.name_length",
            "flow_log.description",
        ),
        "INVALID_PARAMETER",
    )
    | {"flow_log.topic": "MissingParameter"}
)
"""CreateFlowLog's page of 2019 to 2021 knew two codes only."""

_EXAMPLES = ("sls/product-overview/billing-examples", "2024")
_NOT_FOUND = ("sls/product-overview/billable-items has the item, not its price", "2024-10-14")
_COMPRESSED = 1 / 5
"""What the billing examples take logs to be compressed to."""

_GENERATION = Price(
    "generation of flow logs",
    "collected",
    ((10 * 1024, 0.37), (30 * 1024, 0.185), (50 * 1024, 0.074), (None, 0.037)),
    "vpc/user-guide/billing-of-flow-logs",
    "2025",
    free_gb=5,
)
_PRICES = (
    _GENERATION,
    Price("write traffic", "written", ((None, 0.045),), *_EXAMPLES, _COMPRESSED),
    Price("index traffic", "indexed", (), *_NOT_FOUND),
    Price("log storage", "stored_days", (), *_NOT_FOUND, _COMPRESSED),
    Price("index storage", "indexed_days", (), *_NOT_FOUND),
    Price("read traffic", "read", ((None, 0.045),), *_EXAMPLES, _COMPRESSED),
)
"""Pay by feature."""

_PRICES_2019 = (
    replace(
        _GENERATION, tiers=((None, 0.0),), free_gb=0, source="flow logs, overview (a beta without a fee)", date="2019"
    ),
    *_PRICES[1:],
)

ALIBABA = Profile(
    name="alibaba",
    provider="alibaba",
    regions=_REGIONS,
    default_region="cn-hangzhou",
    account_id="1379426105883714",
    windows_s=(60, 300, 600),
    window_s=600,
    delay_s=300,
    resource_types=frozenset({"eni", "subnet", "vpc", "ccn"}),
    record_form="alibaba",
    tcp_flags=True,
    language="sls",
    reserved_first=1,
    reserved_last=3,
    gateway_index=-3,
    pooled_groups=True,
    egress_default="allow",
    members_inside=True,
    group_types=("normal", "enterprise"),
    one_per_resource=False,
    shortest_wins=True,
    codes=_CODES,
    delivery={
        "ok": ("SUCCESS", ""),
        "project": ("FAILED", "ProjectNotExist"),
        "topic": ("FAILED", "UnavaliableTarget"),  # the provider's spelling
        "unauthorized": ("FAILED", "UnknownError"),
    },
    traffic_words={"ALL": "ALL", "ACCEPT": "ACCEPT", "REJECT": "REJECT", "ALLOW": "ACCEPT", "DROP": "REJECT"},
    quotas={
        "flow_logs": 10,
        "vpcs": 20,
        "subnets": 150,
        "enis": 1000,
        "ipv6_addresses": 10,
        "groups": 100,
        "acls": 20,
        "group_rules": 200,
        "acl_rules": 20,
        "groups_per_eni": 10,
        "eni_rules": 1000,
        "templates": 100,
        "template_entries": 200,
        "port_list_entries": 2000,
        "expanded_rules": 1000,
        "addresses_per_eni": 10,
        "eips": 20,
        "route_tables": 10,
        "routes": 200,
        "nat_gateways": 5,
        "eips_per_nat_gateway": 20,
        "snat_entries": 40,
        "port_forwards": 100,
        "peerings": 10,
        "ccns": 10,
        "ccn_vpcs": 1000,
    },
    id_prefixes={
        "vpc": "vpc-",
        "subnet": "vsw-",
        "cvm": "i-",
        "eni": "eni-",
        "group": "sg-",
        "acl": "nacl-",
        "group_rule": "sgr-",
        "acl_rule": "nae-",
        "flow_log": "fl-",
        "prefix_list": "pl-",
        "port_list": "prl-",
        "address_template": "ipm-",
        "address_group": "ipmg-",
        "service_template": "ppm-",
        "service_group": "ppmg-",
        "route_table": "vtb-",
        "eip": "eip-",
        "internet_gateway": "ipv4gw-",
        "nat_gateway": "ngw-",
        "snat_entry": "snat-",
        "port_forward": "fwd-",
        "peering": "pcc-",
        "ccn": "cen-",
        "ccn_attachment": "tr-attach-",
        "internet_host": "host-",
    },
    id_length=20,
    default_instance_type="ecs.g6.large",
    template_kinds=frozenset({"prefix_list", "port_list"}),
    refused_families=_REFUSED_FAMILIES,
    vpc_networks=("0.0.0.0/0",),
    vpc_prefix=(8, 28),
    subnet_prefix=(16, 29),
    vpc_networks_refused=_REFUSED_NETWORKS,
    acl_starts_open=True,
    internet_gateways=True,
    eip_before_nat=True,
    snat_needs_entry=True,
    nat_routes_itself=True,
    ccn_form="alibaba-cen",
    ccn_windows_s=(600, 60),
    ccn_by_attachment=True,
    ccn_logs_switched=True,
    acl_services=_SERVICES,
    group_services=("100.100.100.200/32",),
    unrecorded=_UNRECORDED,
    services=_ANSWERING,
    name_length=128,
    flow_log_name_length=(2, 128),
    flow_log_name_pattern=r"[A-Za-z\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff-]*",
    description_length=(2, 256),
    name_prefixes_refused=("http://", "https://"),
    tag_key_length=128,
    tag_value_length=128,
    tag_key_prefixes_refused=("aliyun", "acs:", "http://", "https://"),
    prices=_PRICES,
    shipping={"oss": OSS},
    mac_prefix="00:16:3e",
    ipv6_pool="2408:4000::/22",
)

ALIBABA_2019 = replace(
    ALIBABA,
    name="alibaba-2019",
    prices=_PRICES_2019,
    regions=_REGIONS_2019,
    default_region="cn-huhehaote",
    windows_s=(600,),
    resource_types=frozenset({"eni", "subnet", "vpc"}),
    record_form="alibaba-2019",
    codes=_CODES_2019,
)
"""The beta of 2019: five regions, 10-minute windows, the 18 fields of the time."""
