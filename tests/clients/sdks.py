"""The client libraries of OpenAI, Anthropic and Ollama, and libraries on top of them, against a server with the model that comes with the project.

    python sdks.py http://127.0.0.1:PORT PICTURE EXPECTED
"""

import base64
import os
import sys

import anthropic
import ollama
import openai

ADDRESS, PICTURE, EXPECTED = sys.argv[1:]
QUESTION = "Describe this image."
MODEL = "shapes"
BYTES = open(PICTURE, "rb").read()
TEXT = base64.b64encode(BYTES).decode()
DATA = "data:image/png;base64," + TEXT


def same(found, expected=EXPECTED):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def raises(kind, act):
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind}")


def with_openai():
    client = openai.OpenAI(base_url=ADDRESS + "/v1", api_key="none")
    picture = {"type": "image_url", "image_url": {"url": DATA}}
    messages = [{"role": "user", "content": [picture, {"type": "text", "text": QUESTION}]}]
    whole = client.chat.completions.create(model=MODEL, messages=messages)
    same(whole.choices[0].message.content)
    usage = {"include_usage": True}
    with client.chat.completions.stream(model=MODEL, messages=messages, stream_options=usage) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    same(final.choices[0].message.content)
    same(final.usage.prompt_tokens, whole.usage.prompt_tokens)
    assert final.usage.prompt_tokens_details.cached_tokens > 0
    same([model.id for model in client.models.list()].count(MODEL), 1)

    asked = [{"type": "input_image", "detail": "auto", "image_url": DATA}, {"type": "input_text", "text": QUESTION}]
    history = [{"role": "user", "content": asked}]
    same(client.responses.create(model=MODEL, input=history).output_text)
    with client.responses.stream(model=MODEL, input=history) as stream:
        for _ in stream:
            pass
        same(stream.get_final_response().output_text)

    create = client.chat.completions.create
    raises(openai.NotFoundError, lambda: create(model="nothing", messages=messages))
    broken = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    error = raises(openai.BadRequestError, lambda: create(model=MODEL, messages=broken))
    same(error.body["param"], "messages[0].content[0]")
    # Leaving early ends the request, and the next one is answered.
    with create(model=MODEL, messages=messages, stream=True) as stream:
        next(iter(stream))
    same(create(model=MODEL, messages=messages).choices[0].message.content)


def with_anthropic():
    client = anthropic.Anthropic(base_url=ADDRESS, api_key="none")
    source = {"type": "base64", "media_type": "image/png", "data": TEXT}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]}]
    whole = client.messages.create(model=MODEL, max_tokens=200, messages=messages)
    same(whole.content[0].text)
    same(whole.stop_reason, "end_turn")
    with client.messages.stream(model=MODEL, max_tokens=200, messages=messages) as stream:
        same("".join(stream.text_stream))
        same(stream.get_final_message().stop_reason, "end_turn")
    count = client.messages.count_tokens(model=MODEL, messages=messages).input_tokens
    same(count, whole.usage.input_tokens + whole.usage.cache_read_input_tokens)
    raises(anthropic.NotFoundError, lambda: client.messages.create(model="nothing", max_tokens=5, messages=messages))


def with_ollama():
    client = ollama.Client(host=ADDRESS)
    messages = [{"role": "user", "content": QUESTION, "images": [BYTES]}]
    same(client.chat(model=MODEL, messages=messages).message.content)
    pieces = client.chat(model=MODEL, messages=messages, stream=True)
    same("".join(piece.message.content for piece in pieces))
    same(client.generate(model=MODEL, prompt=QUESTION, images=[BYTES]).response)
    assert MODEL in [model.model for model in client.list().models]
    assert "vision" in client.show(MODEL).capabilities
    same([model.model for model in client.ps().models], [MODEL])
    error = raises(ollama.ResponseError, lambda: client.chat(model="nothing", messages=messages))
    same(error.status_code, 404)


def with_litellm():
    # Prices come from the network otherwise.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.drop_params = False
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA}}, {"type": "text", "text": QUESTION}]}]
    ways = {"model": "openai/" + MODEL, "api_base": ADDRESS + "/v1", "api_key": "none", "messages": messages}
    same(litellm.completion(**ways).choices[0].message.content)
    pieces = litellm.completion(stream=True, **ways)
    same("".join(piece.choices[0].delta.content or "" for piece in pieces))
    raises(litellm.NotFoundError, lambda: litellm.completion(**{**ways, "model": "openai/nothing"}))


def with_langchain():
    from langchain_ollama import ChatOllama
    from langchain_openai import ChatOpenAI

    asked = [("user", [{"type": "image_url", "image_url": {"url": DATA}}, {"type": "text", "text": QUESTION}])]
    for chat in [
        ChatOpenAI(model=MODEL, base_url=ADDRESS + "/v1", api_key="none"),
        ChatOllama(model=MODEL, base_url=ADDRESS),
    ]:
        same(chat.invoke(asked).content)
        same("".join(piece.content for piece in chat.stream(asked)))


def with_llm():
    import llm
    from llm.default_plugins.openai_models import Chat

    model = Chat(MODEL, model_name=MODEL, api_base=ADDRESS + "/v1", vision=True)
    model.key = "none"
    picture = llm.Attachment(path=PICTURE)
    for stream in [True, False]:
        same(model.prompt(QUESTION, attachments=[picture], stream=stream).text())


with_openai()
with_anthropic()
with_ollama()
with_litellm()
with_langchain()
with_llm()
