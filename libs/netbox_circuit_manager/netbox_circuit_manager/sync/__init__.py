"""The engine that carries what carriers answer into NetBox."""
