"""``vpclab shell``: a prompt in a lab.

::

    prompt.py   lines from a terminal, with completion and history, or from a pipe
        │
    session.py  one line: which command, what it prints, what becomes of its failures
        ├── commands.py   time, records, explanations, captures, files
        ├── rules.py      security groups and network ACLs
        ├── drawing.py    the topology as a tree
        └── nodes.py      machines, and Mininet's own commands
"""
