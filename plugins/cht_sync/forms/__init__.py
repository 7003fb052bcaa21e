"""The forms of a programme: what their definitions say, what reports hold, and the dbt models that are made of both."""
