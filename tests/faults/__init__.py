"""Every fault that the sandbox can produce, through the real engine over real HTTP; the sandbox's account is the judge."""
