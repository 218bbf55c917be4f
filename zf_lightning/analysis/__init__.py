"""What the paper measures of a trained network: functions of a network and images."""
