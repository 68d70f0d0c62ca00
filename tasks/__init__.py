"""What is done: validate, estimate, publish, submit, wait, store, report, and the machinery behind them."""
