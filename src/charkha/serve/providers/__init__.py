"""Engines that are kept in the database: added, changed and removed while gateways serve, their providers' keys sealed."""
