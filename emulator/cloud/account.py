"""One cloud account: everything a tenant may ask for, and what the packet path asks back."""

from __future__ import annotations

from emulator.cloud.acls import Acls
from emulator.cloud.flow_logs import FlowLogs
from emulator.cloud.gateways import Gateways
from emulator.cloud.instances import Instances
from emulator.cloud.internet import Internet
from emulator.cloud.joins import Joins
from emulator.cloud.networks import Networks
from emulator.cloud.secondary import SecondaryAddresses


class Cloud(Networks, Instances, SecondaryAddresses, Acls, FlowLogs, Gateways, Joins, Internet):
    """The state of one account, all regions.

    Tables (id → frozen object): ``vpcs subnets cvms enis groups acls templates flow_logs route_tables eips
    internet_gateways nat_gateways peerings ccns internet_hosts``; ``quotas`` may be raised.
    Every operation checks everything before it changes anything and refuses with a ``RequestRefused`` that carries the
    provider's code. Ids and rule numbers come from ``seed`` and position: the same calls give the same account.
    ``snapshot()`` and ``restore()`` let a caller take a step back when the kernel refused what the cloud allowed.

    | about | operations |
    |---|---|
    | VPCs, subnets | ``create_vpc delete_vpc create_subnet delete_subnet`` |
    | CVMs, ENIs | ``create_cvm delete_cvm create_eni attach_eni detach_eni delete_eni set_groups`` |
    | their addresses | ``assign_address unassign_address allocate_eip associate_eip disassociate_eip release_eip`` |
    | ways out | ``create_nat_gateway delete_nat_gateway add_snat_entry add_port_forward remove_nat_entry
    create_internet_gateway delete_internet_gateway`` |
    | route tables | ``create_route_table add_route remove_route associate_route_table disassociate_route_table
    delete_route_table`` |
    | VPCs joined | ``create_peering set_peering_bandwidth delete_peering create_ccn attach_vpc detach_vpc
    set_ccn_bandwidth delete_ccn`` |
    | the internet | ``create_internet_host delete_internet_host`` |
    | security groups | ``create_group delete_group set_inner_access group_members group_rules`` |
    | network ACLs | ``create_acl associate_acl disassociate_acl delete_acl acl_rules`` |
    | rules of both | ``add_rule remove_rule rule_origin`` |
    | lists that rules name | ``create_template add_entries remove_entries delete_template addresses_of services_of`` |
    | flow logs | ``create_flow_log modify_flow_log set_flow_log_enabled delete_flow_log describe_flow_logs`` |
    | of the collector | ``flow_logs_covering window_of`` |
    | any | ``find`` |
    """
