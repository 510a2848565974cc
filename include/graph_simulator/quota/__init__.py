"""What calls cost and what an account and the app may spend: `hourly` counts calls only, `engine` is the whole law."""
