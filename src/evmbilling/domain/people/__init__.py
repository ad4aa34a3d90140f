"""Users: their wallets, and what they have used."""
