"""Models answer requests: dialects, engines, endpoints, routes, the gateway."""
