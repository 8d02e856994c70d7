"""The picture: `chart` asks and gathers, `layout` places, `picture` draws."""

from macnet.chart.chart import Chart, ChartContainer, ChartNetwork, Reach, draw_chart
from macnet.chart.picture import save_picture

__all__ = ["Chart", "ChartContainer", "ChartNetwork", "Reach", "draw_chart", "save_picture"]
