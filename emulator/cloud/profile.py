"""What may differ between clouds, as one frozen record; ``emulator/providers/`` fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from emulator.cloud.model import AclType, GroupType, ResourceType, TemplateKind
from emulator.cloud.prices import Price
from emulator.cloud.services import Services
from emulator.cloud.shipping import Shipping
from emulator.cloud.unrecorded import Unrecorded
from emulator.errors import RequestRefused

Refusal = TypeVar("Refusal", bound=RequestRefused)


@dataclass(frozen=True)
class Profile:
    """One variant of one provider, chosen by ``Lab(profile=name)``. Times in seconds.

    ``windows_s``        the capture windows one may choose; ``window_s`` is the default
    ``delay_s``          from a window's end to the moment its records can be searched
    ``resource_types``   what a flow log may be created on
    ``record_form``      key of the record form: ``tencent``, ``alibaba`` or ``alibaba-2019``
    ``language``         default search language of a topic: ``lucene`` or ``sls``
    ``reserved_first``, ``reserved_last``  addresses at the ends of a subnet that no ENI may take
    ``gateway_index``    the gateway's index in the subnet (1 = first host, -2 = last but one, ...)
    ``pooled_groups``    True: rules of all groups of an ENI in one pool by priority, deny first;
                         False: list order, groups in the order bound
    ``egress_default``   what becomes of a packet that leaves and matches no rule of any group
    ``members_inside``   True: members of one normal group accept from each other unless a rule or the group's
                         ``inner_access`` says otherwise
    ``group_types``      types of security groups, the default first
    ``one_per_resource`` a second flow log on the same resource is refused
    ``shortest_wins``    of several intervals on one ENI the shortest holds for all
    ``codes``            our reason of a refusal → the provider's error code
    ``delivery``         of a flow log, its state and the message: ``ok``, ``project`` (or logset) or ``topic`` gone,
                         ``unauthorized``
    ``traffic_words``    the provider's words for ALL, ACCEPT, REJECT (upper-cased) → ours
    ``quotas``           name → most: ``flow_logs`` and ``vpcs`` per region; ``subnets``, ``enis``, ``groups`` and
                         ``acls`` per VPC; ``group_rules`` and ``acl_rules`` per direction of one; ``groups_per_eni``
                         ``eni_rules`` both directions over all groups of an ENI, templates written out;
                         ``ipv6_addresses`` of an ENI;
                         ``templates`` of a kind per account, ``template_entries`` of one, ``port_list_entries`` of one
                         of ports, ``expanded_rules`` of a
                         security group with the entries of its templates written out; ``addresses_per_eni``,
                         ``eips`` per region, ``route_tables`` per VPC, ``routes`` of one, ``nat_gateways`` per VPC,
                         ``eips_per_nat_gateway``, ``snat_entries``, ``port_forwards``, ``peerings`` per VPC, ``ccns``
                         per account, ``ccn_vpcs`` of one
    ``template_kinds``   lists that rules may name, see ``cloud/templates.py``
    ``id_prefixes``      kind of object (``vpc``, ``eni``, ``group_rule``, ...) → what its ids begin with
    ``refused_families`` instance families whose ENIs cannot be logged
    ``vpc_networks``, ``vpc_networks_refused``  a VPC lies within one of the first and touches none of the second
    ``vpc_prefix``, ``subnet_prefix``  shortest and longest mask
    ``default_group_open``      a VPC's default security group lets everything through, both ways
    ``acl_starts_open``         a new network ACL begins with one removable allow-all rule per direction
    ``acl_types``               what entries of a network ACL may name, the default first
    ``group_services``          networks of them to which every security group lets packets out
    ``acl_services``            networks of the provider's own services, which every network ACL lets pass
    ``services``                metadata, DNS and NTP
    ``subnet_broadcast``        broadcast can be turned on in a subnet
    ``unrecorded``              packets that pass and of which no record is written
    ``duplicate_rules_refused`` False: the same rule again in one group changes nothing
    ``idle_eni_refused``        no flow log on an ENI that is attached to no CVM
    ``tcp_flags``               records show TCP flags
    ``logsets_deleted_empty``   a logset (project) that has topics is not deleted; else they go with it
    ``unique_flow_log_names``   two flow logs of a region may not share a name
    ``name_length``             most characters in the name of anything but a flow log
    ``flow_log_name_length``, ``flow_log_name_pattern``, ``description_length``  of flow logs; no description is fine
    ``name_prefixes_refused``, ``tag_key_prefixes_refused``  what these may not begin with
    ``internet_gateways``       a VPC may have an IPv4 gateway, which then decides who uses an EIP
    ``eip_before_nat``          an ENI with an EIP uses it also where its subnet's default route leads to a NAT gateway
    ``snat_needs_entry``        a NAT gateway lets nothing out that no SNAT entry of it names
    ``nat_routes_itself``       a NAT gateway's birth adds a default route by it
    ``peering_overlap_refused`` no peering of VPCs whose blocks overlap
    ``peer_routes_inside``      a route to a peering lies inside the peer's block
    ``ccn_form``                key of the record form of flow logs on CCNs; ``ccn_windows_s`` what may be chosen for
                                them, the default first
    ``ccn_by_attachment``       they tell what passes each VPC's attachment, not what passes between regions
    ``prices``                  the lines of a bill for logs
    ``shipping``                limits of deliveries to the provider's own store, by kind of target (``cos``, ``oss``)
    ``ccn_logs_switched``       they can be enabled and disabled
    ``mac_prefix``              first three octets of every ENI's MAC
    ``ipv6_pool``               where the provider takes VPCs' IPv6 blocks from
    """

    name: str
    provider: Literal["tencent", "alibaba"]
    regions: tuple[str, ...]
    default_region: str
    account_id: str
    windows_s: tuple[int, ...]
    window_s: int
    delay_s: int
    resource_types: frozenset[ResourceType]
    record_form: str
    language: str
    reserved_first: int
    reserved_last: int
    gateway_index: int
    pooled_groups: bool
    egress_default: Literal["allow", "deny"]
    members_inside: bool
    group_types: tuple[GroupType, ...]
    one_per_resource: bool
    shortest_wins: bool
    codes: Mapping[str, str]
    delivery: Mapping[str, tuple[str, str]]
    traffic_words: Mapping[str, str]
    quotas: Mapping[str, int]
    id_prefixes: Mapping[str, str]
    id_length: int
    default_instance_type: str
    template_kinds: frozenset[TemplateKind]
    refused_families: frozenset[str]
    vpc_networks: tuple[str, ...]
    vpc_prefix: tuple[int, int]
    subnet_prefix: tuple[int, int]
    services: Services
    vpc_networks_refused: tuple[str, ...] = ()
    default_group_open: bool = False
    acl_starts_open: bool = False
    acl_types: tuple[AclType, ...] = ("triple",)
    acl_services: tuple[str, ...] = ()
    group_services: tuple[str, ...] = ()
    subnet_broadcast: bool = False
    unrecorded: tuple[Unrecorded, ...] = ()
    duplicate_rules_refused: bool = False
    idle_eni_refused: bool = False
    tcp_flags: bool = False
    logsets_deleted_empty: bool = False
    unique_flow_log_names: bool = False
    name_length: int = 60
    flow_log_name_length: tuple[int, int] = (1, 60)
    flow_log_name_pattern: str = ""
    description_length: tuple[int, int] = (1, 512)
    name_prefixes_refused: tuple[str, ...] = ()
    tags_most: int = 20
    tag_key_length: int = 127
    tag_value_length: int = 255
    tag_key_prefixes_refused: tuple[str, ...] = ()
    internet_gateways: bool = False
    eip_before_nat: bool = False
    snat_needs_entry: bool = False
    nat_routes_itself: bool = False
    peering_overlap_refused: bool = False
    peer_routes_inside: bool = False
    ccn_form: str = "tencent-ccn"
    ccn_windows_s: tuple[int, ...] = (60, 300, 600)
    ccn_by_attachment: bool = False
    ccn_logs_switched: bool = False
    prices: tuple[Price, ...] = ()
    shipping: Mapping[str, Shipping] = field(default_factory=dict)
    mac_prefix: str = "02:00:00"
    ipv6_pool: str = "2001:db8::/32"

    def code(self, reason: str) -> str:
        """The provider's error code for a refusal of ours; KeyError for a reason that no provider file lists."""
        return self.codes[reason]

    def refusal(
        self, kind: type[Refusal], reason: str, message: str, *, object: str = "", value: object = None
    ) -> Refusal:
        """The exception to raise for ``reason``, with this provider's code."""
        return kind(message, code=self.code(reason), reason=reason, object=object, value=value)
