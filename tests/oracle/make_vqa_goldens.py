"""Accuracies of VQA 2.0 by the challenge's own evaluation, for tests/oracle/vqa/accuracy.json.

Usage: make_vqa_goldens.py CLONE, where CLONE is a clone of https://github.com/GT-Vision-Lab/VQA (state a013f00 of 2021). Its
`vqaEval.py` is for Python 2; only its two `print` statements are in the way, and they are taken out here.
"""

import json
import random
import re
import sys
from pathlib import Path

source = Path(sys.argv[1], "PythonEvaluationTools/vqaEvaluation/vqaEval.py").read_text()
module = {}
exec(re.sub(r'^\s*print ".*$', "", source, flags=re.M), module)


class Answers:
    def __init__(self, answers):
        self.qa = answers

    def getQuesIds(self):
        return list(self.qa)


def accuracy(given, expected):
    annotated = [{"answer": answer, "answer_id": number} for number, answer in enumerate(expected, 1)]
    truth = Answers({1: {"answers": annotated, "question_type": "t", "answer_type": "other"}})
    evaluation = module["VQAEval"](truth, Answers({1: {"answer": given}}), n=10)
    evaluation.updateProgress = lambda *_: None
    evaluation.evaluate()
    return evaluation.accuracy["overall"] / 100


WORDS = """yes no 2 two none zero ten a an the red Red light blue isnt isn't dont Ive Im couldn'tve 1,000 1,5 3.5 .5 10. St. U.S.A. e.g.
black/white black-and-white (red) red, blue; yes! yes. what? @home [x] {y} a_b "quoted" 'quoted' left\\right 7:30 25% #1 ... .. .
Weiß café 2nd rock'n'roll x=1 + < > ` man's men women; , . ! ?""".split() + [" ", "\n", "\t"]

random.seed(20150)
cases = []
while len(cases) < 240:
    answer = lambda: " ".join(random.choice(WORDS) for _ in range(random.choice([1, 1, 1, 2, 3])))
    kinds = [answer() for _ in range(random.choice([1, 2, 3, 4]))]
    expected = [random.choice(kinds) for _ in range(10)]
    given = random.choice(kinds + [answer()])
    given = random.choice([given, given.upper(), given + ".", "the " + given, given.replace("'", "")])
    cases.append({"given": given, "expected": expected, "accuracy": round(accuracy(given, expected), 9)})
out = Path(__file__).parent / "vqa/accuracy.json"
lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
out.write_text(f"[\n{lines}\n]\n")
print(len(cases), sum(0 < case["accuracy"] < 1 for case in cases), sum(case["accuracy"] == 1 for case in cases))
