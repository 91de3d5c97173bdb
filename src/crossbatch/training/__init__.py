"""Training on Lightning: settings, the module, the data module, callbacks, one run, a comparison of runs."""
