"""What everything else rests on: errors, secrets, commands, waiting, evidence, folders."""
