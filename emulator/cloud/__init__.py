"""What the tenant asked for: plain data, rules and refusals, without any I/O or clock.

::

    profile.py  what a provider has and refuses        model.py  frozen objects
         └────────────────┬───────────────────────────────┘
    addresses.py  names.py  ids.py  rules.py           values: parsing, limits, allocation
                          │
    state.py → rulebook.py → groups.py, acls.py → networks.py, instances.py, flow_logs.py
                          │
    account.py            Cloud: all of it             verdict.py  the reference for the kernel's rules
"""
