"""``make torture``: numbered mails through two real gateways while a saboteur does what he can; then every one is accounted for."""
