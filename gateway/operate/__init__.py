"""How people reach the gateway: the verbs, the command line."""
