"""As p4lang/PI has it."""
