"""Settings, parsed once into frozen values.

`proxy.yaml` is `config.agent.Settings`, `server.yaml` is `config.service.ServerSettings`.
"""
