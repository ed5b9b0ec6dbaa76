"""Example applications: Greengrass components with Lambda handlers, and the camera that feeds them."""
