"""How others reach us: addresses, keep-alives, networks that change, the account's servers."""
