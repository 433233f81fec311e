"""The settings of a run: YAML configs, LazyConfigs, and where the shipped ones are."""
