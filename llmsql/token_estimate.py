def estimate(text: str) -> float:
    return len(text) / 4
