"""Start ``python -m greengrass_agent.secrets``."""

from greengrass_agent.secrets.command import main

if __name__ == "__main__":
    main(prog_name="python -m greengrass_agent.secrets")
