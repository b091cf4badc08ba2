"""Facts that sensors report, in the past tense: the input of every detector."""
