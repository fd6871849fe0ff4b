"""A row of every layout, and the prompt in it."""


def system(text):
    return {"role": "system", "content": text}


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def human(text):
    return {"from": "human", "value": text}


def gpt(text):
    return {"from": "gpt", "value": text}


TALK = [user("q1"), bot("a1"), user("q2")]
HH = "\n\nHuman: q1\n\nAssistant: a1\n\nHuman: q2\n\nAssistant:"

# (layout, row, prompt); the answers are always "good" and "bad"
ROWS = [
    ("text", {"prompt": "q", "chosen": "good", "rejected": "bad", "id": 7}, "q"),
    ("text", {"prompt": "q", "chosen": "good", "rejected": "bad", "system": "be"}, [system("be"), user("q")]),
    ("text", {"prompt": "q", "chosen": "good", "rejected": "bad", "system": None}, "q"),
    ("text", {"question": "q", "chosen": "good", "rejected": "bad", "system": ""}, "q"),
    ("text", {"instruction": "q", "chosen_response": "good", "rejected_response": "bad"}, "q"),
    ("text", {"input": "q", "accepted": "good", "rejected": "bad"}, "q"),
    ("text", {"query": "q", "preferred": "good", "dispreferred": "bad"}, "q"),
    ("text", {"context": "q", "better": "good", "worse": "bad"}, "q"),
    ("text", {"prompt": "q", "good": "good", "bad": "bad", "context": "c", "messages": TALK}, "q"),
    ("text", {"prompt": "q", "response_chosen": "good", "response_rejected": "bad"}, "q"),
    ("text", {"instruction": "q", "input": None, "chosen": "good", "rejected": "bad"}, "q"),
    ("alpaca", {"instruction": "q", "input": "x", "chosen": "good", "rejected": "bad"}, "q\nx"),
    ("alpaca", {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"}, "q"),
    ("alpaca", {"instruction": "q", "input": "x", "chosen": "good", "rejected": "bad", "system": "be",
                "history": [["q0", "a0"]]}, [system("be"), user("q0"), bot("a0"), user("q\nx")]),
    ("alpaca-output", {"instruction": "q", "input": "x", "output": ["good", "bad"]}, "q\nx"),
    ("alpaca-output", {"instruction": "q", "output": ["good", "bad"], "history": []}, "q"),
    ("hh-rlhf", {"chosen": HH + " good", "rejected": HH + " bad"}, TALK),
    ("hh-rlhf", {"chosen": HH + "good", "rejected": HH + " bad"}, TALK),
    ("hh-prompt", {"prompt": HH, "chosen": " good", "rejected": "bad"}, TALK),
    ("implicit", {"chosen": [*TALK, bot("good")], "rejected": [*TALK, bot("bad")]}, TALK),
    ("implicit", {"chosen": [system("be"), user("q"), bot("good")], "rejected": [system("be"), user("q"), bot("bad")],
                  "prompt": None}, [system("be"), user("q")]),
    ("implicit", {"chosen": [human("q"), gpt("good")], "rejected": [human("q"), gpt("bad")], "system": "be"},
     [system("be"), user("q")]),
    ("ultrafeedback", {"prompt": "q", "prompt_id": "0", "chosen": [user("q"), bot("good")],
                       "rejected": [user("q"), bot("bad")], "messages": [user("q"), bot("good")]}, "q"),
    ("ultrafeedback", {"prompt": "q1", "chosen": [*TALK, bot("good")], "rejected": [*TALK, bot("bad")]}, TALK),
    ("ultrafeedback", {"prompt": "q", "chosen": [bot("good")], "rejected": [bot("bad")]}, "q"),
    ("messages", {"prompt": TALK, "chosen": [bot("good")], "rejected": [bot("bad")]}, TALK),
    ("messages", {"prompt": TALK, "chosen": [*TALK, bot("good")], "rejected": [*TALK, bot("bad")]}, TALK),
    ("messages", {"prompt": [user("q1")], "chosen": [bot("a1"), user("q2"), bot("good")],
                  "rejected": [bot("a1"), user("q2"), bot("bad")]}, TALK),
    ("messages", {"prompt": TALK, "chosen": [bot("good")], "rejected": [bot("bad")], "system": "be"},
     [system("be"), *TALK]),
    ("messages", {"prompt": [system("own"), user("q")], "chosen": [bot("good")], "rejected": [bot("bad")],
                  "system": "be"}, [system("own"), user("q")]),
    ("messages", {"messages": [*TALK, bot("good")], "chosen": [*TALK, bot("good")], "rejected": [*TALK, bot("bad")]},
     TALK),
    ("messages", {"prompt": [user([{"type": "text", "text": "q"}, {"type": "text", "text": "!"}])],
                  "chosen": [bot("good")], "rejected": [bot("bad")]}, [user("q!")]),
    ("sharegpt", {"conversations": [human("q1"), gpt("a1"), human("q2")], "chosen": gpt("good"),
                  "rejected": gpt("bad")}, TALK),
    ("sharegpt", {"conversations": [{"from": "system", "value": "be"}, human("q")], "chosen": gpt("good"),
                  "rejected": gpt("bad"), "system": ""}, [system("be"), user("q")]),
    ("sharegpt", {"messages": TALK, "chosen": bot("good"), "rejected": bot("bad")}, TALK),
    ("sharegpt", {"prompt": TALK, "chosen": bot("good"), "rejected": bot("bad")}, TALK),
    ("messages-text", {"messages": TALK, "chosen": "good", "rejected": "bad"}, TALK),
    ("text-message", {"prompt": "q", "chosen": bot("good"), "rejected": bot("bad")}, "q"),
]  # fmt: skip
