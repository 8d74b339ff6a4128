"""Plans, diagnoses and the login as HTML."""
