"""Spec + plugins → the DAG of nodes, with equal steps merged and every reference resolved."""

from .dag import Graph, build_graph
from .node import Ask, GatePlan, MetricPlan, Node, RunWith, TargetPlan
from .typed import Types

__all__ = ["Ask", "GatePlan", "Graph", "MetricPlan", "Node", "RunWith", "TargetPlan", "Types", "build_graph"]
