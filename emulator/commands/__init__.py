"""Commands of ``vpclab``, a module for each; ``cli.py`` lists them. What they need is imported when they run."""
