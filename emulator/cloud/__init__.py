"""What the tenant asked for: plain data, rules and refusals, without any I/O or clock.

::

    profile.py  what a provider has and refuses        model.py  frozen objects
         └────────────────┬───────────────────────────────┘
    addresses.py  names.py  ids.py  rules.py           values: parsing, limits, allocation
                          │
    state.py → rulebook.py → groups.py, acls.py → networks.py, instances.py, flow_logs.py
             → routes.py, eips.py → gateways.py, joins.py, secondary.py, internet.py       beyond.py: their objects
                          │
    account.py            Cloud: all of it             verdict.py  the reference for the kernel's rules
"""
