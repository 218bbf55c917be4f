"""The page of task=explore, with Gradio; imported only by that task, when it is run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zf_lightning.errors import UserError
from zf_lightning.inspection.explorer import Explorer, Looked
from zf_lightning.inspection.subject import square_size

#: Read when Gradio is imported: it reports nothing, asks for no newer version, fetches nothing.
OFFLINE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
#: Of the reader's system: none is fetched.
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
#: A feature map's picture is twice as wide as high; what a unit did not see is transparent. Labels
#: stand above the pictures, not on them; as many pictures stand side by side as can be made out.
STYLE = """
#maps .thumbnail-lg { aspect-ratio: 2; }
#maps img { object-fit: contain; }
#maps .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(max(130px, 18%), 1fr)) !important; }
#maps .grid-wrap { max-height: none !important; }
#maps label.float, #hidden label.float { position: static; width: fit-content; }
"""
SHOW = "() => document.getElementById('note').scrollIntoView({block: 'nearest'})"


def gradio() -> Any:
    """The package; raises UserError if it is not installed."""
    os.environ.update(OFFLINE)
    try:
        import gradio
    except ImportError as problem:
        raise UserError(
            "task=explore needs the package gradio: in the checkout pip install -e "
            "'.[cli,explore]', in an environment without the group dev."
        ) from problem
    return gradio


def build_page(explorer: Explorer) -> Any:
    """The page, to be launched."""
    gr = gradio()
    size = explorer.subject.input_size
    classes = explorer.options.classes

    def looked_at(file: str | None, layer: str, square: float) -> tuple:
        if file is None:
            return None, size / 2, size / 2, *maps_of(None, layer), *hidden(None, 0, 0, 0), None
        looked = _told(gr, explorer.look, Path(file))
        middle = size / 2
        whole = explorer.hidden(looked, middle, middle, 0)[1]
        shown = hidden(looked, middle, middle, square)
        return looked, middle, middle, *maps_of(looked, layer), *shown, whole

    def maps_of(looked: Looked | None, layer: str) -> tuple:
        if looked is None:
            return None, None, None, gr.Image(None, visible=False), ""
        pictures, units = _told(gr, explorer.maps, looked, layer)
        note = "" if pictures else f"The image excites no feature map of {layer}."
        # Nothing is chosen: the pictures of an earlier choice are another image's.
        nothing = gr.Image(None, visible=False)
        return gr.Gallery(pictures, selected_index=None), units, None, nothing, note

    def chosen(looked: Looked, units: Any, event: Any) -> tuple:
        number = int(units.feature_maps[event.index])
        picture = _told(gr, explorer.projected, looked, units, event.index)
        note = f"{units.layer}, map {number}: the image and the projection of the unit"
        if explorer.options.atlas is None:
            return picture, gr.Image(visible=False), f"{note}."
        entry = _told(gr, explorer.atlas_entry, units.layer, number)
        beside = "beside what excites the feature map in" if entry else "not in"
        note = f"{note}; {beside} the atlas."
        return picture, gr.Image(entry, visible=entry is not None), note

    # Gradio passes the event to an argument with this type.
    chosen.__annotations__["event"] = gr.SelectData

    def hidden(looked: Looked | None, row: float, column: float, square: float) -> tuple:
        if looked is None:
            return None, None
        return explorer.hidden(looked, row, column, round(square))

    def clicked(event: Any) -> tuple:
        column, row = event.index
        return row, column

    clicked.__annotations__["event"] = gr.SelectData

    with gr.Blocks(title="Explore a network", analytics_enabled=False, fill_width=True) as page:
        looked, units = gr.State(), gr.State()
        with gr.Row():
            file = gr.Image(label="Image", type="filepath", image_mode=None, sources=["upload"])
            plain = {"interactive": False, "buttons": []}
            square = gr.Image(label="Hidden: click where", format="png", elem_id="hidden", **plain)
            with gr.Column():
                row = gr.Slider(0, size, size / 2, step=1, label="Row of its middle")
                column = gr.Slider(0, size, size / 2, step=1, label="Column")
                side = gr.Slider(0, size, square_size(None, explorer.subject), step=1, label="Size")
            bars = {"num_top_classes": classes, "show_heading": False}
            whole = gr.Label(label="Whole image", **bars)
            without = gr.Label(label="With the square", elem_id="without", **bars)
        last = explorer.layers[-1]
        layer = gr.Radio(explorer.layers, value=last, label="Layer")
        maps = gr.Gallery(
            label="Strongest feature maps: what the unit saw, and its projection; click one",
            format="png",
            height="auto",
            allow_preview=False,
            elem_id="maps",
            **plain,
        )
        note = gr.Textbox(show_label=False, container=False, interactive=False, elem_id="note")
        with gr.Row():
            # A label would cover a corner; the note says what they are.
            plain |= {"show_label": False, "format": "png"}
            projection = gr.Image(label="Projection", elem_id="projection", **plain)
            entry = gr.Image(label="Atlas", elem_id="atlas", visible=False, **plain)

        of_maps = [maps, units, projection, entry, note]
        of_image = [looked, row, column, *of_maps, square, without, whole]
        file.change(looked_at, [file, layer, side], of_image)
        layer.change(maps_of, [looked, layer], of_maps)
        # Below many maps on a narrow screen: without this a click would seem to do nothing.
        maps.select(chosen, [looked, units], [projection, entry, note]).then(None, js=SHOW)
        square.select(clicked, None, [row, column])
        # Dragged faster than the network answers, the last place counts.
        gr.on(
            [row.change, column.change, side.change],
            hidden,
            [looked, row, column, side],
            [square, without],
            trigger_mode="always_last",
            show_progress="hidden",
        )
    return page


def serve(explorer: Explorer, files: Path) -> Any:
    """Open the page at `explore.host` and `explore.port`, and return without waiting for its end.

    `files` is a folder for what is dropped. Raises UserError if there is no such address.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(files)
    gr = gradio()
    page = build_page(explorer)
    host, port = explorer.options.host, explorer.options.port
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            theme=gr.themes.Default(**FONTS),
            css=STYLE,
        )
    except OSError as problem:
        raise UserError(
            f"No page can be opened at {host}:{port}; give another address: explore.port=…."
        ) from problem
    return page


def _told(gr: Any, call: Callable, *arguments: Any) -> Any:
    """What `call` gives; its UserError becomes a message on the page."""
    try:
        return call(*arguments)
    except UserError as mistake:
        raise gr.Error(mistake.sentence, print_exception=False) from mistake
