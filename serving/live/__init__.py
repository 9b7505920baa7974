"""Events as they happen: taken in durably, then in the online features."""
