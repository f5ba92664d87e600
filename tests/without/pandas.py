"""Where this folder is on the path pandas is not installed: it is an extra of vpclab's."""

raise ModuleNotFoundError("No module named 'pandas'", name="pandas")
