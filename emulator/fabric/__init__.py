"""How the kernel realises what the cloud asks for: the keeper, Mininet's nodes and links, rulesets, flow tables,
guests."""
