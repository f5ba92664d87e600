"""Delivery: the records of a topic on their way to the stores people have.

::

    topic.deliver(to=Folder("out", format="parquet"), flow_logs=[log])      what is wanted: a Target, frozen data
                      │
    lab.clock ─settle─► Deliveries ─► Delivery ─► Sender.send(Shipment)     the shipping loop, in lab time
                                         │
                                    Checkpoints                             how far it has come, in the manifest

A **new target** is one module here with two classes, and a line in ``kinds.KINDS``:

- a ``Target`` (``target.py``): a frozen dataclass with what a user says, and its own defaults of ``interval_s`` (lab
  seconds that the oldest record waits at most; 0: sent at once) and ``size`` (bytes of text after which it does not
  wait). ``check(profile)`` refuses what the provider would; ``opened()`` gives a ``Sender``, without connecting.
  Secrets are fields made by ``secret()``: never printed, never kept on disk.
- a ``Sender``: ``send(shipment)`` returns what was ``Sent`` when the target has taken all of it for good, raises
  ``TargetDown`` for what may pass (it is retried with backoff in lab time) and ``TargetRefuses`` for what a person has
  to mend (``delivery.restart()``). One call may wait for two seconds of wall time, no more. The same shipment comes
  again, row for row, when it was not known to have arrived: a target that knows ids writes each record once
  (``Shipment.ids``).

A ``Shipment`` has the records as one Arrow table, in the order in which they were written: ``__time__`` and the fields,
nothing hidden. Everything else, triggers, order, retries, kills, states, is the loop's.
"""

from emulator.logs.checkpoints import DeadLetter
from emulator.logs.delivery.buckets import S3, Cos, Oss
from emulator.logs.delivery.delivery import Delivery
from emulator.logs.delivery.elasticsearch import Elasticsearch
from emulator.logs.delivery.folder import Folder
from emulator.logs.delivery.kafka import Kafka
from emulator.logs.delivery.splunk import Splunk
from emulator.logs.delivery.target import Sender, Sent, Shipment, Target, TargetDown, TargetRefuses

__all__ = [
    "S3",
    "Cos",
    "DeadLetter",
    "Delivery",
    "Elasticsearch",
    "Folder",
    "Kafka",
    "Oss",
    "Sender",
    "Sent",
    "Shipment",
    "Splunk",
    "Target",
    "TargetDown",
    "TargetRefuses",
]
