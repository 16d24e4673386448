"""Spec + plugins → the DAG of nodes, with equal steps merged and every reference resolved."""

from .dag import Graph, build_graph
from .node import GatePlan, MetricPlan, Node, RunWith, TargetPlan

__all__ = ["GatePlan", "Graph", "MetricPlan", "Node", "RunWith", "TargetPlan", "build_graph"]
