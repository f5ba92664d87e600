"""What a cloud would have logged of packets that were captured elsewhere; needs no kernel.

::

    a.pcap ─► frames ─► packets ─► connections ─► judging ─► ledgers, and records by the code of every lab
                        numpy      who began      the reference verdict, one for each flow
"""
