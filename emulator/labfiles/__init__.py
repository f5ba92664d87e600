"""Lab files: an emulated account as TOML. What is wrong with one is told with file, line and the nearest right word.

::

    file.toml ─► document ─► checking ─► building ─► Cloud ─► Lab
       ▲         includes   schema.json  the cloud's own checks
       └──────── writing ◄─── Cloud, topics
"""
