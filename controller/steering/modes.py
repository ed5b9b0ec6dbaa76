"""The ways of steering, by the name that the command line knows them by."""

from collections.abc import Mapping

from controller.steering.in_network import InNetworkSteering
from controller.steering.interface import Steering
from controller.steering.reconfiguration import ReconfigurationSteering
from hitless.modes import Mode

MODES: Mapping[Mode, type[Steering]] = {way.mode: way for way in (InNetworkSteering, ReconfigurationSteering)}
