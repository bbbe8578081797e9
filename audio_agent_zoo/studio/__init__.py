"""The studio: conversations over a plan, stored renders, and files that editors and workstations open."""
