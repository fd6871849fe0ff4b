"""A row of every layout, and the prompt in it."""

import json


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
    ("text", {"prompt": "q", "context": "c", "chosen": "good", "rejected": "bad"}, "c\n\nq"),
    ("text", {"question": "q", "context": None, "chosen": "good", "rejected": "bad", "system_message": "be"},
     [system("be"), user("q")]),
    ("messages", {"input": {"messages": TALK, "tools": [], "parallel_tool_calls": True},
                  "preferred_output": [bot("good")], "non_preferred_output": [bot("bad")]}, TALK),
    ("messages", {"prompt": json.dumps(TALK), "chosen": json.dumps([bot("good")]), "rejected": str([bot("bad")])},
     TALK),
    ("messages-text", {"prompt": str(TALK), "chosen": "good", "rejected": "bad"}, TALK),
    ("implicit", {"chosen": str([*TALK, bot("good")]), "rejected": json.dumps([*TALK, bot("bad")])}, TALK),
    ("ms-swift", {"messages": [*TALK, bot("good")], "rejected_response": "bad"}, TALK),
    ("ms-swift-several", {"messages": [*TALK, bot("good")], "rejected_response": ["bad"]}, TALK),
    ("ms-swift-messages", {"messages": [*TALK, bot("good")], "rejected_messages": [*TALK, bot("bad")]}, TALK),
    ("ms-swift-messages", {"messages": [*TALK, bot("good")], "rejected_messages": [bot("bad")]}, TALK),
    ("several-rejected", {"prompt": "q", "chosen": "good", "rejected": ["bad"]}, "q"),
    ("several-conversations", {"prompt": TALK, "chosen": [bot("good")], "rejected": [[bot("bad")]]},
     TALK),
    ("several-conversations", {"chosen": [*TALK, bot("good")], "rejected": [[*TALK, bot("bad")]]}, TALK),
    ("better-of-two", {"prompt": "q", "response_0": "bad", "response_1": "good", "better_response_id": 1,
                       "safer_response_id": 0}, "q"),
    ("better-of-two", {"prompt": "q", "response_0": "good", "response_1": "bad", "better_response_id": 0.0}, "q"),
    ("better-of-two", {"history": "q", "human_ref_A": "good", "human_ref_B": "bad", "labels": 1}, "q"),
    ("better-of-two", {"history": "q", "human_ref_A": "bad", "human_ref_B": "good", "labels": "0"}, "q"),
    ("better-of-two", {"context": TALK, "response1": "good", "response2": "bad", "overall_preference": -1}, TALK),
    ("better-of-two", {"context": TALK, "response1": "bad", "response2": "good", "overall_preference": 3}, TALK),
    ("better-of-two", {"prompt": "q", "response_1": "good", "response_2": "bad", "preference_strength": -2}, "q"),
    ("better-of-two", {"conversation_a": [*TALK, bot("bad")], "conversation_b": [*TALK, bot("good")],
                       "model_a": "x", "winner": "model_b"}, TALK),
    ("better-of-two", {"prompt": "q", "response_a": "good", "response_b": "bad", "winner": "a"}, "q"),
    ("better-of-two", {"prompt": "q", "response_a": "bad", "response_b": "good", "winner_model_a": 0,
                       "winner_model_b": 1, "winner_tie": 0}, "q"),
    ("better-of-two", {"prompt": '["q1", "q2"]', "response_a": '["a1", "good"]', "response_b": '["a1", "bad"]',
                       "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}, TALK),
    ("ranked", {"instruction": "q", "completions": [
        {"response": "fair", "overall_score": 6.0}, {"response": "good", "overall_score": 8.5},
        {"response": "bad", "overall_score": 2.0}]}, "q"),
    ("ranked", {"instruction": "q", "completions": [
        {"response": "bad", "annotations": {"helpfulness": {"Rating": "2"}, "honesty": {"Rating": "N/A"}}},
        {"response": "good", "annotations": {"helpfulness": {"Rating": "3"}, "honesty": {"Rating": "4"}}}]}, "q"),
    ("ranked", {"prompt": HH, "answers": [
        {"answer": "good", "rank": 1.0, "model": "x"}, {"answer": "bad", "rank": 7.0, "model": "y"},
        {"answer": "fair", "rank": 2.0, "model": "z"}]}, TALK),
    ("rated", {"instruction": "q", "generations": ["bad", "good", "none"], "ratings": [1, 5, None]}, "q"),
    ("rated", {"prompt": TALK, "responses": [[bot("good")], [bot("bad")]], "ranks": [1, 2]}, TALK),
    ("text-message", {"prompt": "q", "chosen": bot("good"), "rejected": bot("bad")}, "q"),
]  # fmt: skip

# unpaired rows: (layout, the good row and the bad one), of which the prompt is TALK or its text
UNPAIRED = [
    ("unpaired", [{"prompt": "q", "completion": "good", "label": True}, {"prompt": "q", "completion": "bad",
                                                                        "label": False}]),
    ("unpaired", [{"prompt": TALK, "completion": [bot("good")], "label": 1}, {"prompt": TALK,
                                                                            "completion": [bot("bad")], "label": 0}]),
    ("unpaired", [{"instruction": "q", "output": "good", "kto_tag": "true"}, {"instruction": "q", "output": "bad",
                                                                              "kto_tag": "false"}]),
    ("unpaired-messages", [{"messages": [*TALK, bot("good")], "label": True},
                           {"messages": [*TALK, bot("bad")], "label": False}]),
]
