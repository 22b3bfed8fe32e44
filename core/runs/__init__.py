"""What is a run, and what is left of it? Store, ledger, identity, provenance."""
