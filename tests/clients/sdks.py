"""The client libraries of OpenAI, Anthropic and Ollama, and libraries on top of them, against a server with the model that comes with the project.

    python sdks.py http://127.0.0.1:PORT PICTURE EXPECTED CALLER BUSY LIBRARY...

The server's model `shapes` says EXPECTED of PICTURE. CALLER is a model that calls tools, where it must. BUSY is the address of a server that takes no
request in at the moment. Each LIBRARY has a function below.
"""

import base64
import importlib
import json
import os
import sys

ADDRESS, PICTURE, EXPECTED, CALLER, BUSY = sys.argv[1:6]
QUESTION = "Describe this image."
MODEL = "shapes"
with open(PICTURE, "rb") as file:
    BYTES = file.read()
TEXT = base64.b64encode(BYTES).decode()
DATA = "data:image/png;base64," + TEXT
PART = {"type": "image_url", "image_url": {"url": DATA}}
ABOUT = [{"role": "user", "content": [PART, {"type": "text", "text": QUESTION}]}]
WEATHER = [{"role": "user", "content": "How is the weather?"}]
# What answers and arguments must look like.
SCHEMA = {
    "type": "object",
    "required": ["place", "days"],
    "additionalProperties": False,
    "properties": {"place": {"enum": ["Wien", "Graz"]}, "days": {"type": "integer", "minimum": 0, "maximum": 9}},
}
FUNCTION = {"name": "weather", "description": "The weather of some days.", "parameters": SCHEMA}


def same(found, expected=EXPECTED):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def holds(found):
    """Whether an object is as the schema says."""
    if isinstance(found, str):
        found = json.loads(found)
    same(sorted(found), ["days", "place"])
    assert found["place"] in ("Wien", "Graz") and found["days"] in range(10), found


def raises(kind, act):
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind}")


def counting(library, client_of, tries):
    """A client whose requests are counted, by a hook of the library that it sends them with."""
    http = importlib.import_module(library)
    return client_of(http.Client(event_hooks={"request": [lambda request: tries.append(request.url.path)]}))


def with_openai():
    import openai

    client = openai.OpenAI(base_url=ADDRESS + "/v1", api_key="none")
    create = client.chat.completions.create
    whole = create(model=MODEL, messages=ABOUT)
    same(whole.choices[0].message.content)
    usage = {"include_usage": True}
    with client.chat.completions.stream(model=MODEL, messages=ABOUT, stream_options=usage) as stream:
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

    # Streams are put together only of tools that say so.
    tools = [{"type": "function", "function": {**FUNCTION, "strict": True}}]
    must = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 120}
    message = create(model=CALLER, messages=WEATHER, **must).choices[0].message
    same(message.tool_calls[0].function.name, "weather")
    holds(message.tool_calls[0].function.arguments)
    with client.chat.completions.stream(model=CALLER, messages=WEATHER, **must) as stream:
        for _ in stream:
            pass
        choice = stream.get_final_completion().choices[0]
    same(choice.finish_reason, "tool_calls")
    holds(choice.message.tool_calls[0].function.arguments)
    # What the tool said goes back, and words come.
    back = [*WEATHER, message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}]
    answer = create(model=CALLER, messages=back, tools=tools, tool_choice="none", max_tokens=8).choices[0].message
    assert isinstance(answer.content, str) and not answer.tool_calls, answer
    flat = [{"type": "function", "strict": True, **FUNCTION}]
    given = client.responses.create(
        model=CALLER, input="How is the weather?", tools=flat, tool_choice="required", parallel_tool_calls=False, max_output_tokens=120
    )
    same([item.type for item in given.output], ["function_call"])
    holds(given.output[0].arguments)

    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
    holds(create(model=MODEL, messages=ABOUT, response_format=form).choices[0].message.content)
    text = {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}}
    holds(client.responses.create(model=MODEL, input=history, text=text).output_text)

    raises(openai.NotFoundError, lambda: create(model="nothing", messages=ABOUT))
    broken = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    # What can never be is asked once; what may be later, three times.
    tries = []
    counted = counting("httpx", lambda http: openai.OpenAI(base_url=ADDRESS + "/v1", api_key="none", http_client=http), tries)
    error = raises(openai.BadRequestError, lambda: counted.chat.completions.create(model=MODEL, messages=broken))
    same(error.body["param"], "messages[0].content[0]")
    long = [{"role": "user", "content": "word " * 9000}]
    error = raises(openai.BadRequestError, lambda: counted.chat.completions.create(model=MODEL, messages=long))
    same((error.body["code"], len(tries)), ("context_length_exceeded", 2))
    tries.clear()
    busy = counting("httpx", lambda http: openai.OpenAI(base_url=BUSY + "/v1", api_key="none", http_client=http), tries)
    error = raises(openai.InternalServerError, lambda: busy.chat.completions.create(model=MODEL, messages=ABOUT))
    same((error.status_code, len(tries)), (503, 3))
    # Leaving early ends the request, and the next one is answered.
    with create(model=MODEL, messages=ABOUT, stream=True) as stream:
        next(iter(stream))
    same(create(model=MODEL, messages=ABOUT).choices[0].message.content)


def with_anthropic():
    import anthropic

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

    tools = [{"name": "weather", "description": "The weather of some days.", "input_schema": SCHEMA}]
    must = {"tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "max_tokens": 120}
    call = client.messages.create(model=CALLER, messages=WEATHER, **must)
    same((call.stop_reason, call.content[0].type, call.content[0].name), ("tool_use", "tool_use", "weather"))
    holds(call.content[0].input)
    with client.messages.stream(model=CALLER, messages=WEATHER, **must) as stream:
        for _ in stream:
            pass
        holds(stream.get_final_message().content[0].input)
    # A picture is among what the tool gives back.
    result = {"type": "tool_result", "tool_use_id": call.content[0].id, "content": [{"type": "image", "source": source}]}
    back = [*WEATHER, {"role": "assistant", "content": call.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model=CALLER, messages=back, tools=tools, tool_choice={"type": "none"}, max_tokens=8)
    same([block.type for block in answer.content], ["text"])

    raises(anthropic.NotFoundError, lambda: client.messages.create(model="nothing", max_tokens=5, messages=messages))
    tries = []
    counted = counting("httpx2", lambda http: anthropic.Anthropic(base_url=ADDRESS, api_key="none", http_client=http), tries)
    broken = [{"role": "user", "content": [{"type": "image", "source": {**source, "data": "AAAA"}}]}]
    error = raises(anthropic.BadRequestError, lambda: counted.messages.create(model=MODEL, max_tokens=5, messages=broken))
    assert "messages[0].content[0]" in error.body["error"]["message"] and error.request_id, error.body
    same(len(tries), 1)
    tries.clear()
    busy = counting("httpx2", lambda http: anthropic.Anthropic(base_url=BUSY, api_key="none", http_client=http), tries)
    error = raises(anthropic.InternalServerError, lambda: busy.messages.create(model=MODEL, max_tokens=5, messages=messages))
    same((error.status_code, len(tries)), (503, 3))
    with client.messages.stream(model=MODEL, max_tokens=200, messages=messages) as stream:
        next(iter(stream))
    same(client.messages.create(model=MODEL, max_tokens=200, messages=messages).content[0].text)


def with_ollama():
    import ollama

    client = ollama.Client(host=ADDRESS)
    messages = [{"role": "user", "content": QUESTION, "images": [BYTES]}]
    same(client.chat(model=MODEL, messages=messages).message.content)
    pieces = client.chat(model=MODEL, messages=messages, stream=True)
    same("".join(piece.message.content for piece in pieces))
    same(client.generate(model=MODEL, prompt=QUESTION, images=[BYTES]).response)
    assert MODEL in [model.model for model in client.list().models]
    assert "vision" in client.show(MODEL).capabilities
    assert "tools" in client.show(CALLER).capabilities
    assert MODEL in [model.model for model in client.ps().models]
    holds(client.chat(model=MODEL, messages=messages, format=SCHEMA).message.content)
    # The model is not made to call here, but what it called before, and what came of it, goes in.
    call = {"function": {"name": "weather", "arguments": {"place": "Wien", "days": 1}}}
    back = [*WEATHER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_name": "weather", "content": "rain"}]
    tools = [{"type": "function", "function": FUNCTION}]
    for stream in [False, True]:
        answer = client.chat(model=CALLER, messages=back, tools=tools, options={"num_predict": 8}, stream=stream)
        same((list(answer)[-1] if stream else answer).done, True)
    error = raises(ollama.ResponseError, lambda: client.chat(model="nothing", messages=messages))
    same(error.status_code, 404)
    broken = [{"role": "user", "content": QUESTION, "images": ["AAAA"]}]
    same(raises(ollama.ResponseError, lambda: client.chat(model=MODEL, messages=broken)).status_code, 400)
    next(iter(client.chat(model=MODEL, messages=messages, stream=True)))
    same(client.chat(model=MODEL, messages=messages).message.content)


def with_litellm():
    # Prices come from the network otherwise.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.drop_params = False
    ways = {"model": "openai/" + MODEL, "api_base": ADDRESS + "/v1", "api_key": "none", "messages": ABOUT}
    same(litellm.completion(**ways).choices[0].message.content)
    pieces = litellm.completion(stream=True, **ways)
    same("".join(piece.choices[0].delta.content or "" for piece in pieces))
    caller = {**ways, "model": "openai/" + CALLER, "messages": WEATHER}
    tools = [{"type": "function", "function": FUNCTION}]
    answer = litellm.completion(tools=tools, tool_choice="required", parallel_tool_calls=False, max_tokens=120, **caller)
    holds(answer.choices[0].message.tool_calls[0].function.arguments)
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
    holds(litellm.completion(response_format=form, **ways).choices[0].message.content)
    raises(litellm.NotFoundError, lambda: litellm.completion(**{**ways, "model": "openai/nothing"}))


def with_langchain():
    from langchain_ollama import ChatOllama
    from langchain_openai import ChatOpenAI

    asked = [("user", [PART, {"type": "text", "text": QUESTION}])]
    for chat in [
        ChatOpenAI(model=MODEL, base_url=ADDRESS + "/v1", api_key="none"),
        ChatOllama(model=MODEL, base_url=ADDRESS),
    ]:
        same(chat.invoke(asked).content)
        same("".join(piece.content for piece in chat.stream(asked)))
    caller = ChatOpenAI(model=CALLER, base_url=ADDRESS + "/v1", api_key="none", max_tokens=120)
    tools = [{"type": "function", "function": FUNCTION}]
    answer = caller.bind_tools(tools, tool_choice="required", parallel_tool_calls=False).invoke("How is the weather?")
    same(answer.tool_calls[0]["name"], "weather")
    holds(answer.tool_calls[0]["args"])


def with_llm():
    import llm
    from llm.default_plugins.openai_models import Chat

    model = Chat(MODEL, model_name=MODEL, api_base=ADDRESS + "/v1", vision=True)
    model.key = "none"
    picture = llm.Attachment(path=PICTURE)
    for stream in [True, False]:
        same(model.prompt(QUESTION, attachments=[picture], stream=stream).text())


for library in sys.argv[6:]:
    globals()["with_" + library]()
    print(library, "agrees")
